// init: makes a store.
import { Option, type Command } from 'commander';

import { open } from '../index.js';
import { PersistenceError } from '../errors.js';
import { loadNative } from '../native.js';
import { fromNative } from '../native-errors.js';
import { absolutePath, addCommand, readSecretStorePlace, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { readFile } from './files.js';
import { durationMs } from './numbers.js';
import { findPassword, passwordVariable, takeVariable } from './secrets.js';
import { documentOf } from './status-command.js';
import { actAndClose, isAbsence } from './store.js';
import { tell, writeJson } from './terminal.js';

const keyFileBytesMax = 4096;
const rawKeyBytes = 32;

interface InitOptions extends CommonOptions {
  readonly secretStore: string;
  readonly instance: string;
  /** Set to false by --no-recovery-password. */
  readonly recoveryPassword: boolean;
  readonly recoveryPasswordFile?: string;
  readonly recoveryPasswordFd?: string;
  readonly vendorPublicKey?: string;
  readonly clockTolerance?: string;
  readonly maxAge?: string;
}

export function addInitCommand(program: Command): void {
  addCommand(program, 'init', 'Make a store (COLDSTART), or complete a making that was interrupted.', [
    'strongroom init DIR --secret-store file:/var/lib/acme/secrets --instance acme',
    'strongroom init DIR --secret-store secret-service --recovery-password-file backup.txt',
  ])
    .argument('<dir>', 'the directory of the store; its parent must exist')
    .requiredOption(
      '--secret-store <place>',
      'where the root key and two witnesses live: file:PATH or secret-service',
    )
    .addOption(
      new Option('--storage <type>', 'what holds the root key').choices(['software']).default('software'),
    )
    .option(
      '--instance <name>',
      'the name by which witnesses find this store, whatever the directory',
      'default',
    )
    .option(
      '--recovery-password-file <file>',
      'read the backup password from a file; one newline at its end is dropped',
    )
    .option('--recovery-password-fd <n>', 'read the backup password from an open descriptor')
    .option('--no-recovery-password', 'do not ask for a backup password, and make none')
    .option(
      '--vendor-public-key <file>',
      'let only this Ed25519 key (PEM, or 32 bytes) permit reanchor and the like',
    )
    .option('--clock-tolerance <seconds>', 'how far the clock may trail what is remembered (default: 120)')
    .option(
      '--max-age <days>',
      'refuse to start when the newest stamp is older; a number of days, 36h, or off (default: 7)',
    )
    .addHelpText(
      'after',
      `\nWithout these options the backup password comes from ${passwordVariable}, or is asked for on the terminal.`,
    )
    .action(init);
}

async function init(directory: string, options: InitOptions): Promise<void> {
  const path = absolutePath(directory);
  const secretStore = readSecretStorePlace(options.secretStore, path);
  const policy = {
    ...(options.clockTolerance !== undefined && {
      clockToleranceMs: durationMs('--clock-tolerance', options.clockTolerance, 's'),
    }),
    ...(options.maxAge !== undefined && readMaxAge(options.maxAge)),
    ...(options.vendorPublicKey !== undefined && {
      vendorPublicKey: await readPublicKey(options.vendorPublicKey),
    }),
  };
  await refuseExisting(path);
  const password = await readRecoveryPassword(options);
  try {
    const { instance } = options;
    const persistence = await open({
      directory: path,
      instance,
      storage: { type: 'software' },
      secretStore,
      ...(password !== undefined && { recovery: { password } }),
      ...policy,
    });
    const status = await actAndClose(persistence, () => persistence.status());
    if (persistence.startup !== 'COLDSTART') throw storeExists(path);
    if (options.json === true) await writeJson(documentOf(status));
    else tell(`Made the store ${status.storageId} for the instance ${instance} in ${path}.`);
    if (password === undefined) {
      tell(
        'Without a backup password a lost SecretStore means lost data, and no restored backup can be accepted.',
      );
    }
  } finally {
    password?.fill(0);
  }
}

function readMaxAge(text: string): { maxAge: 'off' } | { maxAgeMs: number } {
  return text === 'off' ? { maxAge: 'off' } : { maxAgeMs: durationMs('--max-age', text, 'd') };
}

async function readPublicKey(file: string): Promise<Buffer | string> {
  const content = await readFile(file, keyFileBytesMax);
  return content.length === rawKeyBytes ? content : content.toString('latin1');
}

async function readRecoveryPassword(options: InitOptions): Promise<Buffer | undefined> {
  const { recoveryPassword: wanted, recoveryPasswordFile: file, recoveryPasswordFd: fd } = options;
  if (!wanted) {
    if (file !== undefined || fd !== undefined)
      throw wrongOption('--no-recovery-password contradicts the other options');
    takeVariable()?.fill(0);
    return undefined;
  }
  return findPassword({
    name: 'backup password',
    file,
    fd,
    fileOption: '--recovery-password-file',
    fdOption: '--recovery-password-fd',
    environment: true,
    ask: 'twice',
  });
}

async function refuseExisting(path: string): Promise<void> {
  const native = loadNative();
  try {
    const { provision } = await fromNative(() => native.inspect(path));
    if (provision !== 'provisioning') throw storeExists(path);
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
}

function storeExists(path: string): PersistenceError {
  return new PersistenceError('store-exists', `there is a store in ${path} already`);
}
