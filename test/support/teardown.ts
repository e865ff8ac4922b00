// One sequence of a process's or worker's end, named by the first argument; the second is the root of a World. Lines on
// standard output, `acknowledged KEY`, name what was durable before the end.
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import { isPersistenceError } from '../../lib/errors.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import { tell } from '../kill/tell.js';
import { binding, quickKdf } from './stores.js';

interface Job {
  readonly scenario: string;
  readonly root: string;
}

const job: Job = isMainThread
  ? { scenario: process.argv[2] ?? '', root: process.argv[3] ?? '' }
  : (workerData as Job);
const value = Buffer.alloc(100, 7);
const password = (): Uint8Array => new TextEncoder().encode('correct horse');

function makeService(trace: (step: string) => void = () => undefined): PersistenceService {
  return new PersistenceService(binding, {
    directory: join(job.root, 'store'),
    instance: 'test',
    secretStore: { type: 'file', directory: join(job.root, 'secrets') },
    recovery: { password, kdf: quickKdf },
    trace,
  });
}

async function open(): Promise<OpenStore> {
  return makeService().initialize();
}

function acknowledge(key: string): void {
  tell(1, `acknowledged ${key}`);
}

/** Keeps 64 writes in flight for ever. */
function write(store: OpenStore): void {
  let count = 0;
  const one = async (lane: number): Promise<void> => {
    for (;;) {
      const key = `lane${lane}/${count++}`;
      await store.vault.set(key, value, { durability: lane % 8 === 0 ? 'witnessed' : 'journal' });
      acknowledge(key);
    }
  };
  for (let lane = 0; lane < 64; ++lane) void one(lane).catch(() => undefined);
}

async function acknowledgedOnce(store: OpenStore): Promise<void> {
  await store.vault.set('first', value);
  acknowledge('first');
}

/** Runs a scenario in a worker; resolves with the worker when it says so. */
async function inWorker(scenario: string): Promise<Worker> {
  const worker = new Worker(new URL('./teardown-worker.mjs', import.meta.url), {
    workerData: { scenario, root: job.root },
  });
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => {
      resolve();
    });
    worker.once('exit', () => {
      resolve();
    });
    worker.once('error', reject);
  });
  return worker;
}

async function exited(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return;
  await new Promise((resolve) => worker.once('exit', resolve));
}

const scenarios: Record<string, () => Promise<unknown>> = {
  'never closed': async () => acknowledgedOnce(await open()),
  'never closed, with a subscriber': async () => {
    const store = await open();
    store.on('vault', () => undefined);
    await acknowledgedOnce(store);
  },
  'ends while operations are pending': async () => {
    const store = await open();
    for (let i = 0; i < 50; ++i) {
      void store.vault.set(`k${i}`, value).then(() => {
        acknowledge(`k${i}`);
      });
    }
  },
  'closed twice, at once and again': async () => {
    const store = await open();
    await acknowledgedOnce(store);
    const pending = store.vault.set('last', value);
    const [one, two] = [store.close(), store.close()];
    if (one !== two) throw new Error('two promises');
    await Promise.all([one, two]);
    await pending;
    acknowledge('last');
    await store.close();
    await store[Symbol.asyncDispose]();
  },
  'a large store, opened and closed again and again': async () => {
    const records = 200_000;
    const kept = Buffer.alloc(400, 7);
    const before = process.memoryUsage.rss();
    let store = await open();
    for (let first = 0; first < records; first += 1000) {
      const batch = Array.from({ length: 1000 }, (_, i) => ({
        type: 'set' as const,
        key: `k${first + i}`,
        value: kept,
      }));
      await store.vault.batch(batch);
    }
    acknowledge(`k${records - 1}`);
    await store.close();
    for (let times = 0; times < 4; ++times) {
      store = await open();
      await store.close();
    }
    globalThis.gc?.();
    const grown = process.memoryUsage.rss() - before;
    if (grown > (records * kept.length) / 2) throw new Error(`${grown} bytes are kept`);
  },
  'process.exit with an open store': async () => {
    await acknowledgedOnce(await open());
    process.exit(7);
  },
  'process.exit during writes': async () => {
    const store = await open();
    write(store);
    await acknowledgedOnce(store);
    setTimeout(() => process.exit(7), 50);
  },
  'process.exit in an event handler': async () => {
    const store = await open();
    store.on('vault', ({ generation }) => {
      if (generation > 20) process.exit(7);
    });
    write(store);
  },
  'process.exit in a start': async () => {
    const service = makeService((step) => {
      if (step === 'InitializeColdstart') setImmediate(() => process.exit(7));
    });
    await service.initialize();
  },
  'process.exit during tasks': async () => {
    const store = await open();
    write(store);
    void store.verify().catch(() => undefined);
    void store.changePassword(password, password).catch(() => undefined);
    void store.anchor().catch(() => undefined);
    setTimeout(() => process.exit(7), 5);
  },
  'process.exit while closing': async () => {
    const store = await open();
    write(store);
    await acknowledgedOnce(store);
    void store.close().catch(() => undefined);
    setImmediate(() => process.exit(7));
  },
  'an uncaught error during writes': async () => {
    const store = await open();
    write(store);
    await acknowledgedOnce(store);
    setTimeout(() => {
      throw new Error('uncaught on purpose');
    }, 30);
  },
  'a worker that ends with an open store': async () => {
    const worker = await inWorker('never closed');
    await exited(worker);
    await (await open()).close();
  },
  'a worker that is terminated during writes, again and again': async () => {
    for (let i = 0; i < 5; ++i) {
      const worker = await inWorker('worker writes');
      await new Promise((resolve) => setTimeout(resolve, 5 * i));
      await worker.terminate();
    }
    const store = await open();
    await acknowledgedOnce(store);
    await store.close();
  },
  'a worker that is terminated in a start': async () => {
    const worker = await inWorker('worker starts');
    await worker.terminate();
    await (await open()).close();
  },
  'a worker that is terminated during tasks': async () => {
    const worker = await inWorker('worker tasks');
    await worker.terminate();
    await (await open()).close();
  },
  'process.exit in a worker during writes': async () => {
    const worker = await inWorker('process.exit during writes');
    await exited(worker);
    await (await open()).close();
  },
  'process.exit while a worker writes': async () => {
    await inWorker('worker writes');
    process.exit(7);
  },
  'a worker that opens a store which is open': async () => {
    const store = await open();
    await acknowledgedOnce(store);
    const worker = await inWorker('worker opens');
    await exited(worker);
    await store.vault.set('second', value);
    acknowledge('second');
    await store.close();
  },
  'worker opens': async () => {
    const error: unknown = await open().catch((refusal: unknown) => refusal);
    if (isPersistenceError(error) && error.reason === 'locked') acknowledge('first');
  },
  'functions of a store that nobody else holds': async () => {
    const nothing = (): void => undefined;
    const make = (): { functions: PropertyDescriptor[]; store: WeakRef<object> } => {
      const store = new binding.Store(
        { directory: join(job.root, 'none'), instance: 'test' },
        nothing, // a function of this scope would hold the store
        new ArrayBuffer(1024 * 17),
      );
      const functions = [store, store.fields].flatMap((owner) =>
        Object.values(Object.getOwnPropertyDescriptors(owner)),
      );
      return { functions, store: new WeakRef(store) };
    };
    const collect = async (): Promise<void> => {
      for (let i = 0; i < 4; ++i) {
        await new Promise(setImmediate); // what a WeakRef has given stays for the rest of the turn
        (globalThis as { gc?: () => void }).gc?.();
      }
    };
    const use = ({ functions, store }: ReturnType<typeof make>): void => {
      if (functions.length < 5 || store.deref() === undefined) {
        throw new Error('a function without its store');
      }
      for (const { value: call } of functions.splice(0)) {
        try {
          (call as (...parameters: unknown[]) => unknown)('key', value, 0);
        } catch (error) {
          if ((error as { reason?: unknown }).reason !== 'not-open') throw error;
        }
      }
    };
    const made = Array.from({ length: 20 }, make);
    await collect();
    made.forEach(use);
    await collect();
    const left = made.filter(({ store }) => store.deref() !== undefined).length;
    if (left !== 0) throw new Error(`${left} stores are never let go`);
  },
  'many stores that are dropped': async () => {
    for (let i = 0; i < 300; ++i) {
      new binding.Store(
        { directory: join(job.root, 'none'), instance: 'test' },
        () => undefined,
        new ArrayBuffer(1024 * 17),
      );
      if (i % 50 === 0) {
        (globalThis as { gc?: () => void }).gc?.();
        await new Promise(setImmediate);
      }
    }
  },
  'worker writes': async () => {
    const store = await open();
    write(store);
    await acknowledgedOnce(store);
    parentPort?.postMessage('writing');
  },
  'worker starts': async () => {
    const service = makeService((step) => {
      if (step === 'InitializeColdstart') parentPort?.postMessage('starting');
    });
    await service.initialize();
  },
  'worker tasks': async () => {
    const store = await open();
    write(store);
    void store.changePassword(password, password).catch(() => undefined);
    void store.verify().catch(() => undefined);
    void store.compact().catch(() => undefined);
    parentPort?.postMessage('working');
  },
};

await scenarios[job.scenario]?.();
