// Key protector `external`: functions of the application, a real key service over HTTP, and systemd-creds where it works.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import { Worker } from 'node:worker_threads';

import { httpKms } from '../examples/http-kms.js';
import { systemdCreds } from '../examples/systemd-creds.js';
import { isPersistenceError, KeyServiceError, type PersistenceError } from '../lib/errors.js';
import type { ExternalProtectorOptions, KeyServiceFunction } from '../lib/protectors/external.js';
import type { OpenOptions } from '../lib/store/open-options.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { PersistenceService } from '../lib/store/persistence-service.js';
import { KeyService } from './support/key-service.js';
import { binding, quickKdf, World } from './support/stores.js';

const password = Buffer.from('a backup password');
const recovery = { password, kdf: quickKdf };
const root = fileURLToPath(new URL('..', import.meta.url));

async function refusal(work: Promise<unknown>): Promise<PersistenceError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(isPersistenceError(error), 'it was not refused');
  return error;
}

/** A key service that keeps what it was given. */
class Drawer {
  readonly keys = new Map<string, Uint8Array>();
  readonly contexts: Uint8Array[] = [];
  readonly given: Uint8Array[] = [];
  /** Of `unwrap`. */
  readonly answers: Uint8Array[] = [];

  get protector(): ExternalProtectorOptions {
    return { type: 'external', wrap: this.wrap, unwrap: this.unwrap };
  }
  readonly wrap: KeyServiceFunction = (key, context) => {
    const wrapped = randomBytes(40);
    this.keys.set(wrapped.toString('hex'), Uint8Array.from(key));
    this.contexts.push(Uint8Array.from(context));
    this.given.push(key);
    return wrapped;
  };
  readonly unwrap: KeyServiceFunction = (wrapped) => {
    const key = this.keys.get(Buffer.from(wrapped).toString('hex'));
    if (key === undefined) throw new KeyServiceError('refused', 'there is no such key');
    const answer = Uint8Array.from(key);
    this.given.push(wrapped);
    this.answers.push(answer);
    return Promise.resolve(answer);
  };
}

describe('protector external', function () {
  this.timeout(30_000);
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  const make = async (protector: ExternalProtectorOptions): Promise<void> => {
    const store = await world.open({ protector, recovery });
    await store.vault.set('seats', Buffer.from('12'));
    await store.close();
  };
  const opens = async (
    protector: ExternalProtectorOptions,
    changes: Partial<OpenOptions> = {},
  ): Promise<void> => {
    const store = await world.open({ protector, recovery, ...changes });
    assert.equal(store.vault.get('seats')?.toString(), '12');
    await store.close();
  };
  /** Every file of the store and its SecretStore. */
  const content = (): Buffer =>
    Buffer.concat(
      [world.directory, world.secrets].flatMap((directory) =>
        readdirSync(directory).map((name) => readFileSync(join(directory, name))),
      ),
    );

  it('starts cold and warm, and tells what it is', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const store = await world.open({ protector: drawer.protector, recovery });
    const status = store.status();
    assert.equal(status.protector, 'external');
    assert.equal(status.securityLevel, 'external');
    await store.verify();
    await store.close();
    const inspection = await world.inspect();
    assert.equal(inspection.protector, 'external');
    assert.deepEqual(
      inspection.keySlots.map(({ type }) => type),
      ['external', 'password'],
    );
  });

  it('gives the service a root key that is in no file, with a context that names store and slot', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const [key] = drawer.keys.values();
    assert.equal(key?.length, 32);
    assert.equal(content().indexOf(key), -1);
    const [context] = drawer.contexts;
    const { storageId, keySlots } = await world.inspect();
    const { id } = keySlots.find(({ type }) => type === 'external')!;
    assert.equal(Buffer.from(context!).readUInt32LE(16), id);
    assert.equal(Buffer.from(context!.subarray(0, 16)).toString('hex'), storageId);
    assert.equal(Buffer.from(context!.subarray(20)).toString(), 'test');
  });

  const isWiped = (bytes: Uint8Array): boolean => bytes.length > 0 && bytes.every((byte) => byte === 0);

  it('wipes what the functions got, and the key that unwrap answered', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    await opens(drawer.protector);
    assert.equal(drawer.given.length, 3);
    assert.ok(drawer.given.every(isWiped));
    assert.equal(drawer.answers.length, 2);
    assert.ok(drawer.answers.every(isWiped));
  });

  it('wipes what the functions got when they throw', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const given: Uint8Array[] = [];
    const failing: KeyServiceFunction = (bytes) => {
      given.push(bytes);
      throw new KeyServiceError('unreachable', 'busy');
    };
    await refusal(world.open({ protector: { ...drawer.protector, unwrap: failing }, recovery }));
    const other = new World();
    try {
      await refusal(other.open({ protector: { ...drawer.protector, wrap: failing }, recovery }));
    } finally {
      await other.closeAll();
    }
    assert.equal(given.length, 2);
    assert.ok(given.every(isWiped));
  });

  it('wipes an answer of unwrap that is refused', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const answers = [new Uint8Array(5000).fill(7), new Uint8Array(31).fill(7), new Uint8Array(32).fill(7)];
    for (const answer of answers) {
      await refusal(world.open({ protector: { ...drawer.protector, unwrap: () => answer }, recovery }));
      assert.ok(isWiped(answer));
    }
  });

  it('gives every rotated key a new root key, and recovers from a lost one', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const store = await world.open({ protector: drawer.protector, recovery });
    await store.rotateDek({ password });
    await store.close();
    assert.equal(drawer.keys.size, 2);
    await opens(drawer.protector);
    const [first] = drawer.keys.keys();
    drawer.keys.delete(first!);
    await opens(drawer.protector);
    drawer.keys.clear();
    const lost = await refusal(world.open({ protector: drawer.protector, recovery }));
    assert.equal(lost.reason, 'key-service-refused');
    assert.match(lost.message, /there is no such key/);
    const recovered = await world.perform('recover', { password }, { protector: drawer.protector });
    await recovered.close();
    await opens(drawer.protector);
  });

  it('ends with a decommission', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    await world.decommission({ password }, { protector: drawer.protector });
    await make(drawer.protector);
  });

  it('needs a backup password, or its refusal', async () => {
    const { protector } = new Drawer();
    const { directory, instance, secretStore } = world.options();
    const without = { directory, instance, secretStore: secretStore!, protector };
    const { reason, message } = await refusal(new PersistenceService(binding, without).initialize());
    assert.equal(reason, 'invalid-option');
    assert.match(message, /recovery/);
    const store = await world.open({ protector, recovery: 'none' });
    await store.close();
  });

  it('refuses options that are none', async () => {
    const { wrap, unwrap } = new Drawer();
    for (const wrong of [
      { type: 'external' },
      { type: 'external', wrap },
      { type: 'external', wrap, unwrap: 'unwrap' },
      { type: 'external', wrap, unwrap, timeoutMs: 0 },
      { type: 'external', wrap, unwrap, timeoutMs: 1.5 },
      { type: 'external', wrap, unwrap, pin: password },
      { type: 'software', wrap },
    ]) {
      const { reason } = await refusal(world.open({ protector: wrong as never, recovery }));
      assert.equal(reason, 'invalid-option', JSON.stringify(wrong));
    }
  });

  describe('failures', () => {
    const failing = (unwrap: () => unknown): ExternalProtectorOptions => ({
      type: 'external',
      wrap: () => new Uint8Array(40),
      unwrap: unwrap as KeyServiceFunction,
      timeoutMs: 500,
    });
    const key = randomBytes(32);
    const thrown: readonly [string, () => unknown, PersistenceError['reason']][] = [
      ['refused', () => Promise.reject(new KeyServiceError('refused', 'denied')), 'key-service-refused'],
      [
        'unreachable',
        () => Promise.reject(new KeyServiceError('unreachable', 'busy')),
        'key-service-unreachable',
      ],
      [
        'an Error',
        () => Promise.reject(new Error(`the body was ${key.toString('hex')}`)),
        'key-service-unreachable',
      ],
      [
        'a text',
        () => new Promise((_, reject) => Reflect.apply(reject, null, ['no'])),
        'key-service-unreachable',
      ],
      ['no answer', () => new Promise(() => undefined), 'key-service-unreachable'],
      ['no bytes', () => Promise.resolve('text'), 'key-service-unreachable'],
      ['too many bytes', () => new Uint8Array(4097), 'key-service-unreachable'],
      ['no bytes at all', () => new Uint8Array(0), 'key-service-unreachable'],
      ['a key of a wrong size', () => new Uint8Array(31), 'key-service-unreachable'],
      ['another key', () => new Uint8Array(32), 'key-service-refused'],
    ];
    for (const [name, unwrap, reason] of thrown) {
      it(`${name}: ${reason}`, async () => {
        const drawer = new Drawer();
        await make(drawer.protector);
        const before = content();
        const error = await refusal(world.open({ protector: failing(unwrap), recovery }));
        assert.equal(error.reason, reason, error.message);
        assert.equal(error.retryable, reason === 'key-service-unreachable');
        assert.ok(!error.message.includes(key.toString('hex')), error.message);
        assert.deepEqual(content(), before);
        // No password makes a loss of an outage.
        if (reason === 'key-service-unreachable') {
          const recover = world.perform('recover', { password }, { protector: failing(unwrap) });
          assert.equal((await refusal(recover)).reason, reason);
        }
        await opens(drawer.protector);
      });
    }

    const spellings: readonly [string, (key: Buffer) => string][] = [
      ['hex', (key) => key.toString('hex')],
      ['upper-case hex with separators', (key) => key.toString('hex').toUpperCase().replace(/../g, '$&:')],
      [
        'hex with prefixes',
        (key) => [...key].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', '),
      ],
      ['base64', (key) => key.toString('base64')],
      ['base64url', (key) => key.toString('base64url')],
      ['base64 of longer data', (key) => Buffer.concat([Buffer.of(7), key, key]).toString('base64')],
      ['latin1', (key) => key.toString('latin1')],
      ['utf8', (key) => key.toString()],
      ['ascii', (key) => key.toString('ascii')],
      ['util.inspect of a Buffer', (key) => inspect(key)],
      ['util.inspect of a Uint8Array', (key) => inspect(Uint8Array.from(key))],
      ['JSON of a Buffer', (key) => JSON.stringify({ body: key })],
      ['JSON of a Uint8Array', (key) => JSON.stringify({ body: Uint8Array.from(key) })],
      ['a decimal list', (key) => String(Uint8Array.from(key))],
    ];
    for (const [name, spell] of spellings) {
      it(`leaves out a message that holds the key: ${name}`, async () => {
        const wrap: KeyServiceFunction = (given) => {
          const text = spell(Buffer.from(given));
          given.fill(0);
          throw new KeyServiceError('refused', `cannot wrap ${text}.`);
        };
        const protector = { type: 'external', wrap, unwrap: wrap } as const;
        const { reason, message } = await refusal(world.open({ protector, recovery }));
        assert.equal(reason, 'key-service-refused');
        assert.match(message, /its message is left out/);
        assert.doesNotMatch(message, /cannot wrap/);
      });
    }

    it('leaves the key out of a message of unwrap that checks the answer of wrap', async () => {
      const drawer = new Drawer();
      const unwrap: KeyServiceFunction = () => {
        throw new KeyServiceError('unreachable', inspect([...drawer.keys.values()][0]));
      };
      const { message } = await refusal(world.open({ protector: { ...drawer.protector, unwrap }, recovery }));
      assert.match(message, /its message is left out/);
    });

    for (const [name, wrapped] of [
      ['no bytes at all', new Uint8Array(0)],
      ['too many bytes', new Uint8Array(4097)],
      ['no bytes', 'text'],
    ] as const) {
      it(`an answer of wrap, ${name}: key-service-unreachable`, async () => {
        const wrap = (() => wrapped) as unknown as KeyServiceFunction;
        const { reason } = await refusal(
          world.open({ protector: { ...new Drawer().protector, wrap }, recovery }),
        );
        assert.equal(reason, 'key-service-unreachable');
        await make(new Drawer().protector);
      });
    }

    it('takes bytes and errors of another realm', async () => {
      const drawer = new Drawer();
      const realm = createContext({});
      const copy = runInContext('(bytes) => Uint8Array.from(bytes)', realm) as (
        bytes: Uint8Array,
      ) => Uint8Array;
      const answers: Uint8Array[] = [];
      const wrap: KeyServiceFunction = async (key, context) => copy(await drawer.wrap(key, context));
      const unwrap: KeyServiceFunction = async (wrapped, context) => {
        const answer = copy(await drawer.unwrap(wrapped, context));
        answers.push(answer);
        return answer;
      };
      const protector = { type: 'external', wrap, unwrap } as const;
      await make(protector);
      await opens(protector);
      assert.equal(answers.length, 2);
      assert.ok(answers.every(isWiped));
      const failing = runInContext(
        `(class KeyServiceError extends Error {
          constructor() { super('denied there'); this.name = 'KeyServiceError'; this.kind = 'refused'; }
        })`,
        realm,
      ) as new () => Error;
      const refusing = { ...protector, unwrap: () => Promise.reject(new failing()) };
      const { reason, message } = await refusal(world.open({ protector: refusing, recovery }));
      assert.equal(reason, 'key-service-refused');
      assert.match(message, /denied there/);
    });

    it('knows a refusal by a function that transferred what it was given', async () => {
      const transferring: KeyServiceFunction = (given) => {
        structuredClone(given, { transfer: [given.buffer as ArrayBuffer] });
        throw new KeyServiceError('refused', 'denied');
      };
      const protector = { type: 'external', wrap: transferring, unwrap: transferring } as const;
      const { reason, message } = await refusal(world.open({ protector, recovery }));
      assert.equal(reason, 'key-service-refused');
      assert.match(message, /protector\.wrap: denied/);
    });

    it('knows a refusal whose text cannot be read', async () => {
      const error = new KeyServiceError('refused', 'denied');
      Object.defineProperty(error, 'message', { get: () => assert.fail('a getter') });
      const wrap = (): Promise<never> => Promise.reject(error);
      const { reason } = await refusal(
        world.open({ protector: { type: 'external', wrap, unwrap: wrap }, recovery }),
      );
      assert.equal(reason, 'key-service-refused');
    });
  });

  describe('the time limit', () => {
    it('is told with the function that was too late, and its answer is dropped', async () => {
      const drawer = new Drawer();
      await make(drawer.protector);
      let late: (answer: Uint8Array) => void = () => undefined;
      const unwrap: KeyServiceFunction = () => new Promise((resolve) => (late = resolve));
      const protector = { ...drawer.protector, unwrap, timeoutMs: 40 };
      const { reason, message } = await refusal(world.open({ protector, recovery }));
      assert.equal(reason, 'key-service-unreachable');
      assert.match(message, /protector\.unwrap: no answer within 40 ms \(timeoutMs\)/);
      const [key] = drawer.keys.values();
      const answer = Uint8Array.from(key!);
      late(answer);
      await new Promise(setImmediate);
      assert.ok(isWiped(answer), 'it has arrived');
      await opens(drawer.protector);
      const silent = { ...drawer.protector, wrap: unwrap, timeoutMs: 41 };
      const other = new World();
      try {
        const made = await refusal(other.open({ protector: silent, recovery }));
        assert.match(made.message, /protector\.wrap: no answer within 41 ms \(timeoutMs\)/);
      } finally {
        await other.closeAll();
      }
    });

    it('passes while the event loop is blocked: the function is not called any more', async () => {
      const drawer = new Drawer();
      await make(drawer.protector);
      let calls = 0;
      const unwrap: KeyServiceFunction = (wrapped, context) => {
        calls += 1;
        return drawer.unwrap(wrapped, context);
      };
      const store = await world.open({ protector: { ...drawer.protector, unwrap, timeoutMs: 20 }, recovery });
      const before = calls;
      const verifying = refusal(store.verify());
      // The task starts behind other promises, and no function is called before the event loop has its turn.
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
      const { reason, message } = await verifying;
      assert.equal(reason, 'key-service-unreachable', message);
      assert.match(message, /no answer within 20 ms/);
      assert.equal(calls, before);
      await store.close();
    });
  });

  it('close() waits for a silent function, at most to its limit, and what waited is told why', async () => {
    const drawer = new Drawer();
    await make(drawer.protector);
    const isCalled: (() => void)[] = [];
    let isSilent = false;
    const silently = (through: KeyServiceFunction): KeyServiceFunction => {
      return (bytes, context) => {
        if (!isSilent) return through(bytes, context);
        isCalled.shift()?.();
        return new Promise(() => undefined);
      };
    };
    const protector = {
      type: 'external',
      wrap: silently(drawer.wrap),
      unwrap: silently(drawer.unwrap),
      timeoutMs: 400,
    } as const;
    for (const begin of [
      (store: OpenStore) => store.verify(),
      (store: OpenStore) => store.rotateDek({ password }),
    ]) {
      isSilent = false;
      const store = await world.open({ protector, recovery });
      isSilent = true;
      const order: string[] = [];
      const called = new Promise<void>((resolve) => isCalled.push(resolve));
      const waiting = refusal(begin(store)).finally(() => order.push('refused'));
      await called;
      await store.close().finally(() => order.push('closed'));
      const { reason, message } = await waiting;
      assert.equal(reason, 'key-service-unreachable');
      assert.match(message, /no answer within 400 ms/);
      assert.deepEqual(order, ['refused', 'closed']);
      await opens(drawer.protector);
    }
  });

  it('answers an AbortSignal while the service is silent', async () => {
    await make(new Drawer().protector);
    const controller = new AbortController();
    const silent: ExternalProtectorOptions = {
      type: 'external',
      wrap: () => new Promise(() => undefined),
      unwrap: () => {
        controller.abort();
        return new Promise(() => undefined);
      },
      timeoutMs: 600_000,
    };
    const opening = world.open({ protector: silent, recovery, signal: controller.signal });
    assert.equal((await refusal(opening)).reason, 'aborted');
  });

  it('needs no thread of the pool for an answer', () => {
    const script = `
      import { lookup } from 'node:dns/promises';
      import { mkdtempSync } from 'node:fs';
      import { join } from 'node:path';
      import { PersistenceService } from './lib/store/persistence-service.js';
      import { binding, quickKdf } from './test/support/stores.js';
      const root = mkdtempSync('/tmp/strongroom-test-');
      const through = async (bytes) => { await lookup('localhost'); return Uint8Array.from(bytes); };
      const store = await new PersistenceService(binding, {
        directory: join(root, 'store'), instance: 'test',
        secretStore: { type: 'file', directory: join(root, 'secrets') },
        recovery: { password: Buffer.from('a backup password'), kdf: quickKdf },
        protector: { type: 'external', wrap: through, unwrap: through, timeoutMs: 20_000 },
      }).initialize();
      await store.close();
      console.log('closed');`;
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, UV_THREADPOOL_SIZE: '1', NODE_OPTIONS: '' },
    });
    assert.equal(child.stdout.trim(), 'closed', child.stderr);
  });

  it('does not hold a process that ends', () => {
    const script = `
      import { PersistenceService } from './lib/store/persistence-service.js';
      import { binding, quickKdf } from './test/support/stores.js';
      const silent = () => { process.exit(7); };
      new PersistenceService(binding, {
        directory: ${JSON.stringify(world.directory)}, instance: 'test',
        secretStore: { type: 'file', directory: ${JSON.stringify(world.secrets)} },
        recovery: { password: Buffer.from('a backup password'), kdf: quickKdf },
        protector: { type: 'external', wrap: silent, unwrap: silent, timeoutMs: 600_000 },
      }).initialize().catch(() => undefined);`;
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: root,
      encoding: 'utf8',
      timeout: 25_000,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    assert.equal(child.status, 7, child.stderr);
  });

  it('does not hold a worker that ends', async () => {
    const { directory, secrets } = world;
    const worker = new Worker(new URL('support/silent-worker.mjs', import.meta.url), {
      workerData: { directory, secrets },
    });
    await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
  });

  describe('a key management service over HTTP', () => {
    let service: KeyService;
    beforeEach(async () => {
      service = await KeyService.started();
    });
    afterEach(() => service.close());

    it('wraps the root key of a store, and is asked as often as the manual says', async () => {
      const protector = httpKms(service.url);
      const asked = (): string[] => service.calls.splice(0);
      await make(protector);
      assert.deepEqual(asked(), ['/wrap', '/unwrap']);
      const store = await world.open({ protector, recovery });
      assert.deepEqual(asked(), ['/unwrap']);
      await store.verify();
      assert.deepEqual(asked(), ['/unwrap']);
      const reader = await world.open({ protector, recovery, readOnly: true });
      assert.deepEqual(asked(), ['/unwrap']);
      await reader.verify();
      assert.deepEqual(asked(), ['/unwrap']);
      await store.rotateDek({ password });
      assert.deepEqual(asked(), ['/wrap', '/unwrap']);
      await reader.close();
      await store.close();
      assert.deepEqual(asked(), []);
    });

    it('tells an outage from a refusal, and comes back', async () => {
      const protector = httpKms(service.url, {}, 300);
      await make(httpKms(service.url));
      for (const [mood, reason] of [
        ['silent', 'key-service-unreachable'],
        ['broken', 'key-service-unreachable'],
        ['forbidding', 'key-service-refused'],
      ] as const) {
        service.mood = mood;
        assert.equal((await refusal(world.open({ protector, recovery }))).reason, reason);
      }
      service.mood = 'blocked';
      for (service.proxyStatus of [400, 401, 403, 404]) {
        const { reason } = await refusal(world.open({ protector: httpKms(service.url), recovery }));
        assert.equal(reason, 'key-service-unreachable', `status ${service.proxyStatus} of a proxy`);
      }
      service.mood = 'serving';
      await opens(httpKms(service.url));
      service.loseKey();
      assert.equal((await refusal(world.open({ protector, recovery }))).reason, 'key-service-refused');
      await (await world.perform('recover', { password }, { protector })).close();
      await opens(httpKms(service.url));
    });

    it('keeps the path of the URL, with and without a slash at its end', async () => {
      await make(httpKms(`${service.url}kms/v1`));
      assert.deepEqual(service.calls, ['/kms/v1/wrap', '/kms/v1/unwrap']);
      await opens(httpKms(`${service.url}kms/v1/`));
      assert.equal(service.calls[2], '/kms/v1/unwrap');
    });

    it('ends its request at the limit', async () => {
      service.mood = 'silent';
      const { unwrap } = httpKms(service.url, {}, 50);
      await assert.rejects(async () => unwrap(Buffer.from('wrapped'), Buffer.from('context')), {
        name: 'TimeoutError',
      });
    });

    it('opens no slot with what was wrapped for another store', async () => {
      const protector = httpKms(service.url);
      await make(protector);
      let stolen: Uint8Array | undefined;
      const thief = new World();
      try {
        const spying: ExternalProtectorOptions = {
          ...protector,
          wrap: async (key, context) => (stolen = await protector.wrap(key, context)),
        };
        await (await thief.open({ protector: spying, recovery })).close();
      } finally {
        await thief.closeAll();
      }
      const swapped = {
        ...protector,
        unwrap: (_: Uint8Array, context: Uint8Array) => protector.unwrap(stolen!, context),
      };
      assert.equal(
        (await refusal(world.open({ protector: swapped, recovery }))).reason,
        'key-service-refused',
      );
    });
  });

  describe('systemd-creds', () => {
    before(function () {
      try {
        execFileSync('systemd-creds', ['encrypt', '--with-key=host', '--name=probe', '-', '-'], {
          input: 'probe',
          stdio: ['pipe', 'pipe', 'ignore'],
        });
      } catch {
        this.skip();
      }
    });
    afterEach(() => {
      delete process.env['SYSTEMD_CREDENTIAL_SECRET'];
    });
    const reasonOf = async (protector: ExternalProtectorOptions): Promise<PersistenceError['reason']> =>
      (await refusal(world.open({ protector, recovery }))).reason;

    it('wraps the root key of a store', async () => {
      await make(systemdCreds());
      await opens(systemdCreds());
    });

    it('refuses a credential of another name, another host or none, and one that was changed', async () => {
      const protector = systemdCreds();
      await make(protector);
      const { unwrap } = protector;
      const version = execFileSync('systemd-creds', ['--version'], { encoding: 'utf8' });
      // The texts of other releases are not known to the example: an outage.
      const expected = version.startsWith('systemd 252 ') ? 'key-service-refused' : 'key-service-unreachable';
      const foreign = { ...protector, unwrap: (bytes: Uint8Array) => unwrap(bytes, randomBytes(20)) };
      assert.equal(await reasonOf(foreign), expected, 'another name');
      const edited = (place: number): ExternalProtectorOptions => ({
        ...protector,
        unwrap: (bytes, context) => {
          const credential = Buffer.from(Buffer.from(bytes).toString(), 'base64');
          credential[place < 0 ? credential.length + place : place]! ^= 1;
          return unwrap(Buffer.from(credential.toString('base64')), context);
        },
      });
      assert.equal(await reasonOf(edited(0)), expected, 'another format');
      assert.equal(await reasonOf(edited(-1)), expected, 'changed');
      const secret = join(world.root, 'credential.secret');
      process.env['SYSTEMD_CREDENTIAL_SECRET'] = secret;
      assert.equal(await reasonOf(protector), expected, 'no key of the host');
      execFileSync('systemd-creds', ['encrypt', '--with-key=host', '--name=probe', '-', '-'], {
        input: 'makes a key of the host',
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      assert.equal(await reasonOf(protector), expected, 'another key of the host');
      delete process.env['SYSTEMD_CREDENTIAL_SECRET'];
      await opens(protector);
    });
  });

  it('systemd-creds: ends the command at the limit', async () => {
    const commands = join(world.root, 'commands');
    mkdirSync(commands);
    writeFileSync(join(commands, 'systemd-creds'), '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
    const path = process.env['PATH'];
    process.env['PATH'] = `${commands}:${path}`;
    try {
      const { unwrap } = systemdCreds('host', 50);
      // It rejects when the command has ended.
      await assert.rejects(async () => unwrap(Buffer.from('wrapped'), Buffer.from('context')), {
        kind: 'unreachable',
        message: 'systemd-creds ended with SIGKILL',
      });
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('has nothing to reseal, with and without the functions', async () => {
    const { protector } = new Drawer();
    await make(protector);
    for (const given of [{ protector }, { protector: undefined }] as Partial<OpenOptions>[]) {
      const { reason, message } = await refusal(world.perform('reseal', { password }, given));
      assert.equal(reason, 'nothing-to-do', message);
    }
    await opens(protector);
  });

  it('no command opens such a store, and each says so', async () => {
    await make(new Drawer().protector);
    const run = (...words: string[]): { status: number | null; stderr: string } =>
      spawnSync(process.execPath, ['--import', 'tsx', 'lib/cli/main.ts', ...words], {
        cwd: root,
        encoding: 'utf8',
        env: { ...process.env, NODE_OPTIONS: '' },
      });
    const got = run('get', world.directory, 'seats');
    assert.notEqual(got.status, 0);
    assert.match(got.stderr, /key service of the application/);
    const made = run('init', join(world.root, 'other'), '--protector', 'external');
    assert.notEqual(made.status, 0);
    assert.match(made.stderr, /choices are software, tpm, pkcs11/);
  });
});
