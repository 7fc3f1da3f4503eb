// What the drivers in JavaScript share: packages, settings, answers, and the progress file.
import fs from 'node:fs';
import { createRequire } from 'node:module';

// Installed outside of the tree, by install.sh.
export const load = createRequire(process.env.PEERS_NODE + '/');
export const redis = { host: '127.0.0.1', port: Number(process.env.PEERS_PORT) };
export const payload = 'x'.repeat(100);
export const concurrency = Number(process.env.PEERS_CONCURRENCY);

const kBatch = 1000;
const kWarmUp = 200;
const now = () => Number(process.hrtime.bigint()) / 1e3;

let done = 0;
export const jobDone = () => void ++done;

// Makes the progress file as long as jobs are done, every 10 ms, so that a job costs one addition.
export function startProgress() {
  const fd = fs.openSync(process.env.PEERS_DONE, 'a');
  let written = 0;
  setInterval(() => {
    if (done === written) return;
    written = done;
    fs.ftruncateSync(fd, written);
  }, 10);
}

// verbs: single() and bulk(count) submit; latency() runs a job to its result; work() starts a
// worker.
export async function drive(verbs) {
  const words = process.argv.slice(2);
  const count = Number(words.at(-1));
  if (words[0] === 'work') {
    startProgress();
    await verbs.work();
    return;
  }
  if (words[0] === 'latency') {
    const micros = [];
    for (let i = -kWarmUp; i < count; ++i) {
      const begin = now();
      const taken = await verbs.latency();
      if (i >= 0 && taken !== null) micros.push(now() - begin);
    }
    console.log(JSON.stringify({ micros }));
  } else {
    const begin = now();
    if (words[1] === 'single') {
      for (let i = 0; i < count; ++i) await verbs.single();
    } else {
      for (let left = count; left > 0; left -= kBatch) await verbs.bulk(Math.min(kBatch, left));
    }
    console.log(JSON.stringify({ seconds: (now() - begin) / 1e6 }));
  }
  process.exit(0);
}
