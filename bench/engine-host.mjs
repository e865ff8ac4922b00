/**
 * The process that one engine runs in, for one N. It is told over IPC what to do, one message at a time:
 * `open` (load the records if the directory is new), `run` (one work) and `close`. Every message gets one answer,
 * `{ ok: true, … }` or `{ ok: false, message }`.
 */
import fs from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { engineNamed } from './engines/index.mjs';
import { loadMark, noiseSince, settle } from './lib/load.mjs';
import { Records } from './lib/records.mjs';
import { MARK_BEGIN, MARK_END } from './lib/syscalls.mjs';
import { workNamed } from './works/index.mjs';

const LOAD_BATCH = 1000;

/** @type {import('./types.d.ts').Engine} */ let engine;
/** @type {import('./types.d.ts').Store} */ let store;
/** @type {Records} */ let records;
/** @type {import('./types.d.ts').OpenOptions} */ let options;

/** @param {{ engine: string, directory: string, records: number, seed: number }} message */
async function open(message) {
  engine = engineNamed(message.engine);
  options = { directory: message.directory, records: message.records };
  records = new Records(message.records, message.seed);
  await mkdir(options.directory, { recursive: true });
  store = await engine.open(options);
  const loaded = join(options.directory, 'loaded');
  if (!fs.existsSync(loaded)) {
    await load();
    await writeFile(loaded, '');
  }
  await settle();
  return { crypto: store.crypto() };
}

/** Loads in order, in durable batches; the limit has nothing to load. */
async function load() {
  if (engine.role === 'limit') return;
  for (let first = 0; first < records.count; first += LOAD_BATCH) {
    const size = Math.min(LOAD_BATCH, records.count - first);
    const keys = Array.from({ length: size }, (_, index) => records.key(first + index));
    await store.batch?.(
      keys,
      keys.map(() => records.value()),
    );
  }
}

async function reopen() {
  await store.close();
  const start = performance.now();
  store = await engine.open(options);
  await store.verify?.();
  return performance.now() - start;
}

/** @param {{ work: string, budgetMs: number, warmupMs: number, traced?: boolean }} message */
async function run({ work: name, budgetMs, warmupMs, traced = false }) {
  const work = workNamed(name);
  if (work.run === undefined || work.supports?.(store) === false) return { metrics: null };
  await settle();
  /** @type {{ gc?: () => void }} */ (globalThis).gc?.();
  if (traced) fs.existsSync(MARK_BEGIN);
  const before = loadMark();
  const context = {
    get store() {
      return store;
    },
    records,
    budgetMs,
    warmupMs,
    reopen,
  };
  const metrics = await work.run(context);
  const noise = noiseSince(before);
  if (traced) fs.existsSync(MARK_END);
  await settle();
  return { metrics, noise };
}

async function close() {
  await store?.close();
  return {};
}

/** @type {Record<string, (message: any) => Promise<object>>} */
const handlers = { open, run, close };

process.on('disconnect', () => process.exit(1));
process.on('message', async (/** @type {{ type: string }} */ message) => {
  try {
    const answer = await /** @type {(message: unknown) => Promise<object>} */ (handlers[message.type])(
      message,
    );
    process.send?.({ ok: true, ...answer });
  } catch (error) {
    process.send?.({
      ok: false,
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
});
