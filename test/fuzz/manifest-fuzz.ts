// Mutational fuzzer for the manifest loader.
//
//   tsx test/fuzz/manifest-fuzz.ts [--seconds 30] [--seed N] [--replay BASE64]
//
// Fails, and prints the input in base64, when the loader throws, takes more than 1 s of processor time for one file,
// misreports, or accepts a content that the provider did not sign. A worker runs the loader; the main thread watches it,
// so that an endless loop is found too. Keys are made anew for each run: only inputs that fail before the signature is
// checked fail again by --replay.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { parseArgs } from 'node:util';

import { loadLicenseProviderManifests, manifestLimits } from '../../lib/manifests/loader.js';
import { keyPair, manifest, readerOf, secret, signed, type Json } from '../support/manifest-fixtures.js';

interface Shared {
  /** Executions begun, and the length of the present input. */
  readonly state: Int32Array;
  readonly input: Uint8Array;
}

const inputBytesMax = 2 * manifestLimits.bytesMax;
const hangMs = 1000;
const reasons =
  /^(too-large|encoding|json|too-deep|duplicate-key|schema|unknown-provider|signature|weak-key|public-key)$/;

/** xorshift32: the same mutations for the same seed. */
function randomOf(seed: number): (below: number) => number {
  let x = seed | 0 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** RFC 8785 again, written apart from the one that the loader uses; for what JSON.parse returns. */
function canonicalOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalOf).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, child]) => `${JSON.stringify(name)}:${canonicalOf(child)}`).join()}}`;
}

const strings = /"(?:[^"\\]|\\.)*"/gs;

class Fuzzer {
  readonly #random: (below: number) => number;
  readonly #seeds: Buffer[] = [];
  /** `content|signature` of everything that the provider signed. */
  readonly #signed = new Set<string>();
  readonly #counts = new Map<string, number>();
  readonly #tokens = [
    '{', '}', '[', ']', ',', ':', '"', '\\', '\\ud800', '\\u0000', '\u{feff}', '/*', '//', '"__proto__":', '"constructor":{},',
    '"ProviderName":"Acme",', '"SignatureBase64":"AAAA",', 'null', 'true', '-0', '1e999', '1e-999', '2048.0', '0x800', 'NaN',
    '9007199254740993', '=', '==', '\n', '\u{2028}', '\u{1f600}', '9999-12-31T23:59:59Z', '2026-02-30T00:00:00Z', '-----BEGIN',
  ]; // prettier-ignore

  constructor(seed: number) {
    this.#random = randomOf(seed);
    for (const scheme of [{ pss: 'digest' }, 'pkcs1'] as const) {
      this.#seeds.push(this.#sign(manifest(), scheme));
      this.#seeds.push(
        this.#sign(manifest({ ProviderName: '__proto__', ProviderSecrets: [secret(), secret()] }), scheme),
      );
      this.#seeds.push(
        this.#sign(manifest({ CreatedUtc: '2026-03-01T12:00:00.5Z', ProviderSecrets: [] }), scheme),
      );
    }
    this.#seeds.push(Buffer.from(JSON.stringify(signed(manifest(), keyPair('stranger').privateKey))));
    this.#seeds.push(Buffer.from(JSON.stringify(signed(manifest({ ProviderName: 'Nobody' })), null, 2)));
    this.#seeds.push(Buffer.from('[[{"a":[{"b":"\\ud83d\\ude00"}]}]]'), Buffer.from('{}'), Buffer.alloc(0));
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  next(): Buffer {
    const r = this.#random;
    const seed = this.#seeds[r(this.#seeds.length)] ?? Buffer.alloc(0);
    const kind = r(1000);
    if (kind < 2) return this.#huge();
    if (kind < 20) return this.#signMutated(seed);
    if (kind < 250) return this.#mutateValue(seed);
    if (kind < 260) return seed;
    let bytes: Buffer = Buffer.from(seed);
    for (let rounds = 1 + r(4); rounds > 0; --rounds) bytes = this.#mutateBytes(bytes);
    return bytes.subarray(0, inputBytesMax);
  }

  async execute(content: Uint8Array): Promise<void> {
    const key = keyPair('provider').publicKey;
    const trustedKeys = Object.fromEntries(['Acme', '__proto__'].map((name) => [name, key]));
    const { candidates, rejected } = await loadLicenseProviderManifests(
      { directory: '/fuzz', trustedKeys },
      readerOf({ 'a.json': content }),
    );
    if (candidates.length + rejected.length !== 1) throw new Error('neither accepted nor rejected, or both');
    const [rejection] = rejected;
    const outcome = rejection?.reason ?? 'accepted';
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1);
    if (rejection !== undefined) {
      if (!reasons.test(rejection.reason)) throw new Error(`reason ${rejection.reason}`);
      if (!/^[^\p{C}\p{Zl}\p{Zp}]{1,300}$/u.test(rejection.detail))
        throw new Error('detail is not printable');
      return;
    }
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
    const document = JSON.parse(text) as Record<string, unknown>;
    const { SignatureBase64, ...rest } = document;
    if (!this.#signed.has(`${canonicalOf(rest)}|${String(SignatureBase64)}`))
      throw new Error('accepted an unsigned change');
    // A name that stands twice leaves fewer strings behind.
    if (text.match(strings)?.length !== canonicalOf(document).match(strings)?.length)
      throw new Error('accepted a name twice');
  }

  #sign(document: Record<string, Json>, scheme: Parameters<typeof signed>[2]): Buffer {
    const result = signed(document, keyPair('provider').privateKey, scheme);
    this.#signed.add(`${canonicalOf(document)}|${result.SignatureBase64}`);
    return Buffer.from(JSON.stringify(result));
  }

  /** Changed first and signed then, to get past the signature. */
  #signMutated(seed: Buffer): Buffer {
    try {
      const changed = JSON.parse(this.#mutateValue(seed).toString()) as Record<string, Json>;
      const document = Object.fromEntries(
        Object.entries(changed).filter(([name]) => name !== 'SignatureBase64'),
      );
      return this.#sign(document, { pss: 'digest' });
    } catch {
      return seed; // not JSON, or a lone surrogate: nothing that can be signed
    }
  }

  #mutateBytes(bytes: Buffer): Buffer {
    const r = this.#random;
    const at = r(bytes.length + 1);
    const length = r(Math.min(64, bytes.length - at + 1));
    const splice = (drop: number, add: Uint8Array): Buffer =>
      Buffer.concat([bytes.subarray(0, at), add, bytes.subarray(at + drop)]);
    switch (r(8)) {
      case 0:
      case 1: {
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << r(8));
        return bytes;
      }
      case 2:
        return splice(1, Uint8Array.of(r(256)));
      case 3:
        return splice(length, new Uint8Array());
      case 4:
        return splice(0, bytes.subarray(at, at + length));
      case 5:
        return splice(r(2) * length, Buffer.from(this.#tokens[r(this.#tokens.length)] ?? ''));
      case 6: {
        const other = this.#seeds[r(this.#seeds.length)] ?? bytes;
        const from = r(other.length + 1);
        return splice(r(2) === 0 ? bytes.length : length, other.subarray(from, from + r(200)));
      }
      default:
        return bytes.subarray(0, at);
    }
  }

  /** Changes, repeats, renames or removes a member somewhere within the value. */
  #mutateValue(seed: Buffer): Buffer {
    const r = this.#random;
    let root: Json;
    try {
      root = JSON.parse(seed.toString()) as Json;
    } catch {
      return seed;
    }
    const nodes: Record<string, Json>[] = [];
    const walk = (value: Json): void => {
      if (value === null || typeof value !== 'object') return;
      nodes.push(value as Record<string, Json>);
      Object.values(value).forEach(walk);
    };
    walk(root);
    const node = nodes[r(nodes.length)];
    const names = Object.keys(node ?? {});
    const name = names[r(names.length || 1)];
    if (node === undefined || name === undefined) return seed;
    const old = node[name] ?? null;
    const fresh: Json[] = [
      null,
      true,
      false,
      0,
      -0,
      2048,
      2 ** 53,
      1e300,
      0.5,
      '',
      'A',
      '\u{d800}',
      '\u{1f600}',
      [],
      {},
      [[old]],
      { old },
    ];
    switch (r(5)) {
      case 0:
        Reflect.deleteProperty(node, name);
        break;
      case 1:
        Object.defineProperty(node, ['__proto__', 'toJSON', 'x', name.toLowerCase()][r(4)] ?? 'x', {
          value: old, enumerable: true, configurable: true, writable: true,
        }); // prettier-ignore
        break;
      case 2:
        if (typeof old === 'string')
          node[name] = this.#mutateBytes(Buffer.from(old, 'latin1')).toString('latin1');
        break;
      default:
        node[name] = fresh[r(fresh.length)] ?? null;
    }
    return Buffer.from(JSON.stringify(root, null, r(3)));
  }

  #huge(): Buffer {
    const r = this.#random;
    const unit = this.#tokens[r(this.#tokens.length)] ?? '';
    const size = manifestLimits.bytesMax - 64 + r(128);
    const filler = Buffer.alloc(size, [unit, `{"a":`, `[1,`, `"\\u0041`, `1`, ` `, `"a":1,`][r(7)] || ' ');
    return Buffer.concat([
      Buffer.from(['', '{', '[', '{"ProviderName":"', '{"ProviderSecrets":['][r(5)] ?? ''),
      filler,
    ]);
  }
}

async function work({
  seed,
  seconds,
  shared,
}: {
  seed: number;
  seconds: number;
  shared: Shared;
}): Promise<void> {
  const fuzzer = new Fuzzer(seed);
  // The libraries are loaded and compiled before time is taken.
  await fuzzer.execute(fuzzer.next());
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const content = fuzzer.next();
    shared.input.set(content);
    Atomics.store(shared.state, 1, content.length);
    Atomics.add(shared.state, 0, 1);
    try {
      await fuzzer.execute(content);
    } catch (error) {
      throw new Error(`input ${content.toString('base64')}`, { cause: error });
    }
  }
  parentPort?.postMessage(fuzzer.counts);
}

function watch(): void {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '30' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      replay: { type: 'string' },
    },
  });
  const seed = Number(values.seed);
  const seconds = Number(values.seconds);
  if (!Number.isSafeInteger(seed) || !(seconds > 0)) throw new TypeError('--seconds and --seed take numbers');
  if (values.replay !== undefined) {
    void new Fuzzer(seed).execute(Buffer.from(values.replay, 'base64')).then(() => {
      console.log('ok');
    });
    return;
  }

  const shared: Shared = {
    state: new Int32Array(new SharedArrayBuffer(8)),
    input: new Uint8Array(new SharedArrayBuffer(inputBytesMax)),
  };
  const fail = (why: string): never => {
    console.error(`manifest-fuzz: seed ${seed}: ${why}`);
    process.exit(1);
  };
  // A worker does not have tsx's hooks: it registers them itself and loads this file again.
  const start = `import('tsx/esm/api').then(({ register }) => {
    register();
    return import(${JSON.stringify(import.meta.url)});
  });`;
  const worker = new Worker(start, { eval: true, execArgv: [], workerData: { seed, seconds, shared } });

  // Processor time and not the clock: a busy machine is no hang. The main thread itself uses next to none.
  let seen = 0;
  let cpu = process.cpuUsage();
  const watchdog = setInterval(() => {
    const executions = Atomics.load(shared.state, 0);
    const { user, system } = process.cpuUsage(cpu);
    if (executions !== seen) {
      seen = executions;
      cpu = process.cpuUsage();
    } else if (executions > 0 && (user + system) / 1000 > hangMs) {
      const input = Buffer.from(shared.input.slice(0, Atomics.load(shared.state, 1)));
      fail(`more than ${hangMs} ms for one input ${input.toString('base64')}`);
    }
  }, 50);

  let counts: ReadonlyMap<string, number> | undefined;
  worker.on('message', (message: ReadonlyMap<string, number>) => {
    counts = message;
  });
  worker.on('error', (error: Error) =>
    fail(`${error.message}\n${(error.cause as Error | undefined)?.stack ?? error.stack ?? ''}`),
  );
  worker.on('exit', () => {
    clearInterval(watchdog);
    if (counts === undefined) fail('the worker ended without a result');
    console.log(`manifest-fuzz: seed ${seed}: ${Atomics.load(shared.state, 0)} executions in ${seconds} s`);
    for (const [outcome, count] of [...(counts ?? [])].sort()) console.log(`  ${outcome}: ${count}`);
    if (!counts?.has('accepted')) fail('nothing was accepted: the seeds are stale');
  });
}

if (isMainThread) watch();
else await work(workerData as Parameters<typeof work>[0]);
