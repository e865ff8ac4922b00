// The process that is killed in the middle of rotations of the data encryption key. Its part comes as JSON on the command
// line; each line that it writes is a JSON document, or `a N` for an acknowledged write of the record `wN`.
import { toPersistenceError } from '../../lib/native/errors.js';
import type { OpenOptions } from '../../lib/store/open-options.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import { binding } from '../support/stores.js';
import { tell } from './tell.js';

export interface RotationPart {
  readonly options: Omit<OpenOptions, 'protector'>;
  readonly protector:
    | { readonly type: 'software' }
    | { readonly type: 'tpm'; readonly tcti: string }
    | { readonly type: 'pkcs11'; readonly module: string; readonly token: string; readonly pin: string };
  readonly password: string;
  /** One rotation, or going on with one; SIGKILL before this step of it. */
  readonly killAt?: string;
  /** Rotations one after the other, with writes of `wN` from this N on beside them, until it is killed. */
  readonly writeFrom?: number;
}

const part = JSON.parse(process.argv[2] ?? '') as RotationPart;
const protector =
  part.protector.type === 'pkcs11'
    ? { ...part.protector, pin: Buffer.from(part.protector.pin) }
    : part.protector;

function say(what: object | string): void {
  tell(1, typeof what === 'string' ? what : JSON.stringify(what));
}

async function rotate(store: OpenStore): Promise<void> {
  const forgetFieldKeys = store.status().dek.formerFieldKeys === 8;
  await store.rotateDek({ password: Buffer.from(part.password), forgetFieldKeys });
}

async function write(store: OpenStore, from: number): Promise<void> {
  for (let n = from; ; n += 1) {
    const durability = n % 10 === 0 ? 'witnessed' : 'journal';
    await store.vault.set(`w${n}`, Buffer.from(`value ${n}`), { durability });
    say(`a ${n}`);
  }
}

try {
  const internals = part.killAt === undefined ? {} : { killBeforeStep: part.killAt };
  const store = await new PersistenceService(binding, { ...part.options, protector }, internals).initialize();
  say({ event: 'open', dek: store.status().dek });
  if (part.writeFrom === undefined) {
    await rotate(store);
    await store.verify();
    await store.close();
    say({ event: 'done', dek: store.status().dek });
  } else {
    const writing = write(store, part.writeFrom);
    const rotating = async (): Promise<void> => {
      for (;;) {
        say({ event: 'rotating' });
        await rotate(store);
        say({ event: 'rotated', dek: store.status().dek });
      }
    };
    await Promise.all([writing, rotating()]);
  }
} catch (error) {
  const { reason, message } = toPersistenceError(error);
  say({ event: 'fault', reason, message });
  process.exitCode = 1;
}
