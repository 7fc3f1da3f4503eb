// Drives BullMQ: submit single|bulk N, latency N, work.
import { drive, jobDone, load, payload, concurrency, redis } from './driver.mjs';

const { Queue, QueueEvents, Worker } = load('bullmq');
const connection = { ...redis, maxRetriesPerRequest: null };
const verb = process.argv[2];
const queue = verb === 'work' ? null : new Queue('jobs', { connection });
await queue?.waitUntilReady();
const events = verb === 'latency' ? new QueueEvents('jobs', { connection }) : null;
await events?.waitUntilReady();

const data = { payload };
const gone = { removeOnComplete: true };

await drive({
  single: () => queue.add('noop', data, gone),
  bulk: (count) =>
    queue.addBulk(Array.from({ length: count }, () => ({ name: 'noop', data, opts: gone }))),
  // A result is read from the job's record, which has to outlive the job for that.
  latency: async () => {
    const job = await queue.add('echo', data, { removeOnComplete: { count: 100 } });
    return job.waitUntilFinished(events);
  },
  work: () =>
    new Worker('jobs', async (job) => (job.name === 'echo' ? job.data.payload : jobDone()), {
      connection,
      concurrency,
    }),
});
