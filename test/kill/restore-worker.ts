// The process that is killed in the middle of a restore or a rotation. Its part comes as JSON on the command line; what it
// has to say at its end goes to standard output.
import { writeSync } from 'node:fs';

import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import { restoreStore } from '../../lib/restore/restore.js';
import { toPersistenceError } from '../../lib/native/errors.js';
import { binding } from '../support/stores.js';

export interface RestorePart {
  readonly act: 'restore' | 'rotate';
  readonly directory: string;
  readonly secrets: string;
  readonly module: string;
  readonly token: string;
  readonly pin: string;
  readonly password: string;
  readonly soPin?: string;
  readonly slotId?: number;
  readonly tlsDirectory?: string;
  readonly hook?: string;
  /** A step of the core, or one of restore(): SIGKILL as it begins. */
  readonly killAt?: string;
}

const part = JSON.parse(process.argv[2] ?? '') as RestorePart;
const killInCore = ['begin', 'kek', 'witness', 'commit', 'file', 'settle', 'strays'].includes(
  part.killAt ?? '',
);
const internals = killInCore ? { killBeforeStep: part.killAt } : {};
const options = {
  directory: part.directory,
  instance: 'test',
  protector: { type: 'pkcs11', module: part.module, token: part.token, pin: Buffer.from(part.pin) },
  secretStore: { type: 'file', directory: part.secrets },
} as const;

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

try {
  let store: OpenStore;
  if (part.act === 'rotate') {
    store = await new PersistenceService(binding, options, internals).initialize();
    await store.rotateKek();
  } else {
    const { slotId, soPin, tlsDirectory, hook, killAt } = part;
    const parts = {
      ...options,
      credential: { password: Buffer.from(part.password) },
      ...(slotId !== undefined && {
        setUp: { slotId, label: part.token, soPin: Buffer.from(soPin ?? '') },
      }),
      ...(tlsDirectory !== undefined && { tls: { directory: tlsDirectory } }),
      ...(hook !== undefined && { hook }),
      onStep: ({ step, state }: { step: string; state: string }) => {
        if (!killInCore && `${step} ${state}` === killAt) die();
      },
    };
    store = await restoreStore(binding, parts, { internals });
  }
  await store.close();
  writeSync(1, 'done\n');
} catch (error) {
  const { reason, message } = toPersistenceError(error);
  writeSync(1, `${reason}: ${message}\n`);
  process.exitCode = 1;
}
