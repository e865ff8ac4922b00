// The process that is killed. It opens the store, tells what it found, and writes with 64 operations in flight, until
// SIGKILL ends it or its part is done.
//
// It reports to the parent by lines on descriptor 3, each written in one blocking call as soon as there is something to
// tell, so that what stands in the pipe is what had happened when the process died:
//   {"event":"begin"}                  the package is loaded, open() is next
//   {"event":"open",…}                 what was found, in full, see OpenReport
//   a INDEX ANSWER                     an operation is acknowledged; '?' where it is durable and its witness did not move
//   {"event":"anchor"|"password"|"close"}               is beginning
//   {"event":"anchored"|"password-changed"|"closed"}    is done
//   {"event":"unavailable"}            the TPM does not answer at the start, and the process waits for its end
//   {"event":"fault",…}                an error that must not be; the process ends with status 1
import { readSync } from 'node:fs';

import { loadNative } from '../../lib/native.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import { askingOver } from '../support/key-service.js';
import { Model, Operations, type Operation } from './operations.js';
import { tell } from './tell.js';

export interface WorkerConfig {
  readonly directory: string;
  /** The place of the SecretStore; or how the TPM is reached, which may be killed while the process lives. */
  readonly root:
    | { readonly secrets: string; /** Of protector `external`. */ readonly keyService?: string }
    | { readonly tcti: string };
  readonly seed: number;
  readonly witnessedOneIn: number;
  /** Which of them opens the password slot is reported. The first is the one that COLDSTART gets. */
  readonly passwords: readonly string[];
  /** Change the password to this one after so many acknowledgements. */
  readonly changePassword?: { readonly to: string; readonly after: number };
  /** Anchor again and again, after so many acknowledgements each. */
  readonly anchorEach?: number;
  /** Close after so many acknowledgements, with operations in flight. */
  readonly closeAfter?: number;
  /** Read everything again from disk after opening. */
  readonly verify: boolean;
}

export interface OpenReport {
  readonly event: 'open';
  readonly startup: string;
  readonly generation: number;
  /** Key and value, the value in base64. */
  readonly entries: readonly (readonly [string, string])[];
  /** The passwords that the slot takes. */
  readonly passwords: readonly string[];
  readonly tailRepaired: boolean;
  /** With `verify`: the generation that the log starts from, which compaction moves. */
  readonly base?: number;
}

const inFlight = 64;

function readConfig(): WorkerConfig {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65_536);
    const count = readSync(0, chunk);
    if (count === 0) return JSON.parse(Buffer.concat(chunks).toString()) as WorkerConfig;
    chunks.push(chunk.subarray(0, count));
  }
}

function fault(where: string, error: unknown): never {
  const { code, reason, message, stack } = error as Record<string, unknown>;
  tell(3, JSON.stringify({ event: 'fault', where, code, reason, message, stack }));
  process.exit(1);
}

const config = readConfig();
const withTpm = 'tcti' in config.root;

/** What a dead TPM makes of a call. */
function tpmIsGone(error: unknown): boolean {
  const { reason } = error as { reason?: string };
  return withTpm && (reason === 'tpm-unavailable' || reason === 'witness-not-moved');
}

async function step<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    return fault(where, error);
  }
}

const service = new PersistenceService(
  loadNative(),
  {
    directory: config.directory,
    instance: 'kill',
    ...('tcti' in config.root
      ? { protector: { type: 'tpm', tcti: config.root.tcti } }
      : {
          protector:
            config.root.keyService === undefined ? { type: 'software' } : askingOver(config.root.keyService),
          secretStore: { type: 'file', directory: config.root.secrets },
        }),
    // A cheap key derivation: the campaign is about files, and each process may derive twice.
    recovery: { password: Buffer.from(config.passwords[0]!), kdf: { memoryKiB: 64, passes: 1 } },
    witnessIntervalMs: 20,
  },
  // Small, so that the audit log wraps and compaction happens all the time.
  { tamperCapacity: 256, compactionBytesMin: 96 * 1024 },
);
tell(3, '{"event":"begin"}');
let persistence: OpenStore;
try {
  persistence = await service.initialize();
} catch (error) {
  if (!tpmIsGone(error)) fault('open', error);
  tell(3, '{"event":"unavailable"}');
  setInterval(() => undefined, 1000);
  persistence = await new Promise<never>(() => undefined);
}
const { vault } = persistence;

const model = new Model();
for (const [key, value] of vault.entries()) model.put(key, value);
const passwords: string[] = [];
for (const password of config.passwords) {
  try {
    await persistence.verifyPassword(Buffer.from(password));
    passwords.push(password);
  } catch (error) {
    if ((error as { reason?: string }).reason !== 'password-wrong') fault('verifyPassword', error);
  }
}
const verified = config.verify
  ? await step('verify', () =>
      persistence.verify().catch((error: unknown) => {
        if (!tpmIsGone(error)) throw error;
        return undefined;
      }),
    )
  : undefined;
const status = persistence.status();
const report: OpenReport = {
  event: 'open',
  startup: persistence.startup,
  generation: status.generation,
  entries: [...model.entries].map(([key, value]) => [key, value.toString('base64')] as const),
  passwords,
  tailRepaired: status.repaired.tail,
  ...(verified !== undefined && { base: verified.snapshot.generation }),
};
tell(3, JSON.stringify(report));

const operations = new Operations(config.seed, model, config.witnessedOneIn);
let submitted = 0;
let acknowledged = 0;
let closing = false;
let upkeep: Promise<unknown> = Promise.resolve();

function run(operation: Operation): Promise<unknown> {
  const options = { durability: operation.durability };
  switch (operation.type) {
    case 'set':
      return vault.set(operation.key, operation.value, options);
    case 'delete':
      return vault.delete(operation.key, options);
    case 'increment':
      return vault.increment(operation.key, operation.delta, { ...options, min: operation.min });
    case 'compareAndSet':
      return vault.compareAndSet(operation.key, operation.expected, operation.next, options);
    case 'batch':
      return vault.batch(
        operation.changes.map(([key, value]) =>
          value === undefined ? { type: 'delete', key } : { type: 'set', key, value },
        ),
        options,
      );
  }
}

function upkeepStep(begin: string, done: string, work: () => Promise<unknown>): void {
  upkeep = upkeep.then(async () => {
    tell(3, `{"event":"${begin}"}`);
    try {
      await work();
    } catch (error) {
      if (!tpmIsGone(error)) fault(begin, error);
      return;
    }
    tell(3, `{"event":"${done}"}`);
  });
}

function acknowledge(index: number, answer: string): void {
  tell(3, `a ${index} ${answer}`);
  ++acknowledged;
  if (closing) return;
  if (config.anchorEach !== undefined && acknowledged % config.anchorEach === 0) {
    upkeepStep('anchor', 'anchored', () => persistence.anchor());
  }
  if (acknowledged === config.changePassword?.after) {
    const { to } = config.changePassword;
    const [current] = passwords as [string];
    upkeepStep('password', 'password-changed', () =>
      persistence.changePassword(Buffer.from(current), Buffer.from(to)),
    );
  }
  if (acknowledged === config.closeAfter) {
    closing = true;
    upkeepStep('close', 'closed', () => persistence.close());
    return;
  }
  submit();
}

function submit(): void {
  const index = submitted++;
  const operation = operations.next();
  model.apply(operation);
  run(operation).then(
    (answer) => acknowledge(index, answer === undefined ? '' : String(answer as bigint | boolean)),
    (error: unknown) => {
      const { reason, committed } = error as { reason?: string; committed?: boolean };
      if (reason === 'below-minimum') acknowledge(index, reason);
      else if (committed === true && tpmIsGone(error)) acknowledge(index, '?');
      else fault(`operation ${index}, ${operation.type}`, error);
    },
  );
}

for (let i = 0; i < inFlight; ++i) submit();
