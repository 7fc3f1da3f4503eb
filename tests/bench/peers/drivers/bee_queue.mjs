// Drives bee-queue: submit single|bulk N, latency N, work.
import { drive, jobDone, load, payload, concurrency, redis } from './driver.mjs';

const Queue = load('bee-queue');
const verb = process.argv[2];
const queue = new Queue('jobs', {
  redis,
  isWorker: verb === 'work',
  getEvents: verb === 'latency',
  storeJobs: verb === 'latency',
  removeOnSuccess: true,
});
await queue.ready();

// The event of a job that ends before save() has returned is lost.
const kLostMs = 20;

await drive({
  single: () => queue.createJob({ type: 'noop', payload }).save(),
  bulk: (count) =>
    queue.saveAll(Array.from({ length: count }, () => queue.createJob({ type: 'noop', payload }))),
  latency: async () => {
    const job = queue.createJob({ type: 'echo', payload });
    const result = new Promise((resolve) => job.on('succeeded', resolve));
    await job.save();
    return Promise.race([result, new Promise((resolve) => setTimeout(resolve, kLostMs, null))]);
  },
  work: () =>
    queue.process(concurrency, async (job) =>
      job.data.type === 'echo' ? job.data.payload : jobDone(),
    ),
});
