// A client made of npm's @grpc/grpc-js and nothing of ours but proto/, against a real weftd.
// node node_client.js WEFTD PROTO_FOLDER
'use strict';

const assert = require('node:assert/strict');
const {spawn} = require('node:child_process');
const {once} = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {afterEach, beforeEach, test} = require('node:test');
const {promisify} = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [weftd, protos] = process.argv.slice(2);
const PATIENCE_MS = 120_000;  // longer than anything takes on a loaded machine under a sanitizer

function load(file) {
  const definition = loader.loadSync(file, {
    includeDirs: [protos],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  return grpc.loadPackageDefinition(definition);
}
const {weft} = load('weft/v1/job_service.proto');
const {Health} = load('grpc/health/v1/health.proto').grpc.health.v1;

const patience = () => ({deadline: Date.now() + PATIENCE_MS});

// A real daemon. The kernel kills it when this program ends.
class Weftd {
  static async start(store, listen = '127.0.0.1:0') {
    const env = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !name.startsWith('WEFT_')));
    const daemon = new Weftd();
    daemon.process = spawn(
        'setpriv',
        ['--pdeathsig', 'KILL', weftd, '--listen', listen, '--admin', '127.0.0.1:0', '--store', store],
        {env, stdio: ['ignore', 'pipe', 'inherit']});
    daemon.ended = once(daemon.process, 'exit');
    let ready = '';
    for await (const text of daemon.process.stdout.iterator({destroyOnReturn: false})) {
      ready += text;
      if (ready.includes('\n')) break;
    }
    assert.match(ready, /^weftd ready grpc=/);
    daemon.address = ready.match(/grpc=(\S+)/)[1];
    daemon.process.stdout.resume();
    return daemon;
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

// What came down one or several streams of one job, checked for gaps and repeats.
class Reading {
  nextSequence = 1;
  values = [];
  attempts = 0;
  acceptedSends = 0;
  finished = null;

  take(event) {
    if (event.chunks) {
      event.chunks.data.forEach((data, i) => {
        this.expect(event.chunks.first_sequence + i);
        this.values.push(Number(data.toString()));
      });
    } else if (event.attempt_started) {
      this.expect(event.attempt_started.sequence);
      this.attempts += 1;
      this.values = [];
    } else if (event.sends_accepted) {
      this.acceptedSends = event.sends_accepted.number;
    } else if (event.finished) {
      this.finished = event.finished;
    }
  }

  expect(sequence) {
    assert.equal(sequence, this.nextSequence);
    this.nextSequence += 1;
  }

  steps() {
    return this.values.slice(1).map((value, i) => value - this.values[i]);
  }
}

const range = (from, to) => Array.from({length: to - from + 1}, (_, i) => from + i);

let folder;
let store;
let daemon;
let client;

function connect() {
  client = new weft.v1.JobService(daemon.address, grpc.credentials.createInsecure());
}

const call = (method, request, options = patience()) =>
    promisify(client[method]).call(client, request, options);

const submit = async (type, payload, more = {}) =>
    (await call('Submit', {spec: {type, payload: Buffer.from(payload), ...more}})).id;

const state = async (id) => (await call('Get', {id})).state;

async function watch(id, reading, options = patience()) {
  const request = {id, from_sequence: reading.nextSequence, all_attempts: true};
  for await (const event of client.Watch(request, options)) reading.take(event);
}

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-test-'));
  store = `sqlite:${folder}/weft.db`;
  daemon = await Weftd.start(store);
  connect();
});

afterEach(async () => {
  client.close();
  await daemon.kill();
  fs.rmSync(folder, {recursive: true});
});

test('submit, and watch to the end', async () => {
  const id = await submit('count', '{"to":5000}', {metadata: {team: 'ink'}});
  const reading = new Reading();
  await watch(id, reading);
  assert.deepEqual(reading.values, range(1, 5000));
  assert.equal(reading.finished.state, 'JOB_STATE_SUCCEEDED');
  assert.equal(reading.finished.last_sequence, 5000);
  assert.equal((await call('Get', {id})).spec.metadata.team, 'ink');
  const again = new Reading();  // a stored stream is read again from anywhere
  again.nextSequence = 4991;
  await watch(id, again);
  assert.deepEqual(again.values, range(4991, 5000));
});

test('attach steers by sends, and cancels', async () => {
  const id = await submit(
      'count', '{"to":1000000000,"delay_ms":1}', {stream_policy: 'STREAM_POLICY_PAUSE'});
  const reading = new Reading();
  const attach = client.Attach(patience());
  attach.write({open: {id, credit: 20, sender: 'node'}});
  let sent = false;
  let cancelled = false;
  for await (const event of attach) {
    reading.take(event);
    if (!sent && reading.values.length >= 20) {
      assert.deepEqual(reading.values.slice(0, 20), range(1, 20));
      attach.write({send: {number: 1, value: Buffer.from('{"step":1000}')}});
      attach.write({credit: 1_000_000});
      sent = true;
    }
    if (!cancelled && reading.acceptedSends === 1 && reading.steps().includes(1000)) {
      attach.write({cancel: {reason: 'seen enough'}});
      cancelled = true;
    }
  }
  attach.end();
  const steps = reading.steps();
  assert.deepEqual([...new Set(steps)], [1, 1000]);
  assert.deepEqual(steps, [...steps].sort((a, b) => a - b));
  assert.equal(reading.finished.state, 'JOB_STATE_CANCELLED');
  assert.equal(await state(id), 'JOB_STATE_CANCELLED');
});

test('cancel ends a running job and its watch', async () => {
  const id = await submit('sleep', '{"ms":3600000}');
  const reading = new Reading();
  const watching = watch(id, reading);
  const answer = await call('Cancel', {id, reason: 'no longer wanted'});
  assert.ok(['CANCELLED', 'REQUESTED'].includes(answer.result));
  await watching;
  assert.equal(reading.finished.state, 'JOB_STATE_CANCELLED');
});

test('a deadline ends a call and not its job', async () => {
  const id = await submit('sleep', '{"ms":3600000}');
  await assert.rejects(
      watch(id, new Reading(), {deadline: Date.now() + 300}),
      {code: grpc.status.DEADLINE_EXCEEDED});
  assert.ok(['JOB_STATE_QUEUED', 'JOB_STATE_RUNNING'].includes(await state(id)));
});

test('errors have codes and say what to do', async () => {
  await assert.rejects(call('Get', {id: 'nosuchjob-0000'}), {code: grpc.status.NOT_FOUND});
  await assert.rejects(
      submit('cuont', '{}'), {code: grpc.status.INVALID_ARGUMENT, details: /count/});
});

test('the health service answers', async () => {
  const health = new Health(daemon.address, grpc.credentials.createInsecure());
  const answer = await promisify(health.Check).call(health, {service: ''}, patience());
  assert.equal(answer.status, 'SERVING');
  health.close();
});

test('an attach goes on after a kill with no gap and no repeat', async () => {
  const id = await submit('count', '{"to":1500,"delay_ms":1}');
  const reading = new Reading();
  const open = () => {
    const attach = client.Attach(patience());
    const from_sequence = reading.nextSequence;
    attach.write({open: {id, from_sequence, credit: 1_000_000, all_attempts: true}});
    return attach;
  };
  await assert.rejects(
      async () => {
        for await (const event of open()) {
          reading.take(event);
          if (reading.values.length >= 300) daemon.process.kill('SIGKILL');
        }
      },
      {code: grpc.status.UNAVAILABLE});
  const seen = reading.nextSequence - 1;
  assert.ok(seen >= 300 && seen < 1500, `${seen} chunks before the kill`);
  client.close();
  await daemon.kill();
  daemon = await Weftd.start(store, daemon.address);
  connect();
  const attach = open();  // from the next sequence; Reading checks each
  for await (const event of attach) reading.take(event);
  attach.end();
  assert.equal(reading.attempts, 1);
  assert.deepEqual(reading.values, range(1, 1500));
  assert.equal(reading.finished.state, 'JOB_STATE_SUCCEEDED');
  assert.equal(reading.finished.last_sequence, reading.nextSequence - 1);
});
