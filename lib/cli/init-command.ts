// init: makes a store.
import { Option, type Command } from 'commander';

import { open, type SecretStoreOptions } from '../index.js';
import { PersistenceError } from '../errors.js';
import { loadNative } from '../native.js';
import { fromNative } from '../native/errors.js';
import {
  addHelpParagraph,
  absolutePath,
  addCommand,
  readSecretStorePlace,
  type CommonOptions,
} from './command.js';
import type { Flags, KeyProtectorKind } from '../protectors/protector.js';
import { wrongOption } from './failure.js';
import { readFile } from './files.js';
import { durationMs } from './numbers.js';
import { maxAgeMsMin } from '../store/open-options.js';
import { newPasswordBytesMin, requireStrong } from '../options/secrets.js';
import { askNewPassword } from './recovery-key.js';
import { becomeOwner } from './run-as.js';
import { findPassword, passwordVariable, pinVariable, takeVariable } from './secrets.js';
import { documentOf } from './status-command.js';
import { workAndClose, isAbsence } from './store.js';
import { tell, writeJson } from './terminal.js';
import { commandTypes, protectorOf, typesWhere, type KeyProtectorType } from '../protectors/registry.js';
import {
  addPinSources,
  addReachOptions,
  addRoleOptions,
  refuseForeign,
  withProtector,
  type ProtectorFlags,
} from './protector-options.js';

const keyFileBytesMax = 4096;
const rawKeyBytes = 32;

interface InitOptions extends CommonOptions, ProtectorFlags {
  readonly protector: KeyProtectorType;
  /** Set to false by --no-pin. */
  readonly pin: boolean;
  readonly instance: string;
  readonly owner?: string;
  /** Set to false by --no-recovery-password. */
  readonly recoveryPassword: boolean;
  readonly recoveryPasswordFile?: string;
  readonly recoveryPasswordFd?: string;
  readonly vendorPublicKey?: string;
  readonly clockTolerance?: string;
  readonly maxAge?: string;
  readonly windowMax?: string;
  readonly allowNetworkFileSystem?: boolean;
}

export function addInitCommand(program: Command): void {
  const command = addCommand(
    program,
    'init',
    'Make a store (COLDSTART), or finish one whose COLDSTART was interrupted.',
    [
      'strongroom init DIR --secret-store file:/var/lib/acme/secrets --instance acme',
      'strongroom init DIR --secret-store secret-service --recovery-password-file backup.txt',
      'strongroom init DIR --protector tpm --pcrs 0,7 --recovery-password-file backup.txt',
      'strongroom init DIR --protector pkcs11 --module /usr/lib/softhsm/libsofthsm2.so --token acme --pin-file pin.txt --secret-store file:/var/lib/acme/secrets --recovery-password-file backup.txt',
    ],
  )
    .argument('<dir>', 'the directory of the store; its parent must exist')
    .option(
      '--secret-store <place>',
      'where two witnesses live, and with protector software the root key: file:PATH or secret-service',
    )
    .addOption(
      new Option('--protector <type>', 'what wraps the data encryption key')
        .choices(commandTypes)
        .default('software'),
    );
  addRoleOptions(command, 'init')
    .option('--no-pin', 'do not ask for a PIN, and set none')
    .option(
      '--instance <name>',
      'the name by which witnesses find this store, whatever the directory',
      'default',
    )
    .option(
      '--owner <user>',
      'as root: make the store as this user, who must be able to write to the parent of DIR',
    )
    .option(
      '--recovery-password-file <file>',
      'read the backup password from a file; one newline at its end is dropped',
    )
    .option('--recovery-password-fd <n>', 'read the backup password from an open descriptor')
    .option('--no-recovery-password', 'make no backup password: the data are lost with the key protector')
    .option(
      '--vendor-public-key <file>',
      'let only this Ed25519 key (PEM, or 32 bytes) permit reanchor and the like',
    )
    .option('--clock-tolerance <seconds>', 'how far the clock may trail what is remembered (default: 120)')
    .option(
      '--max-age <days>',
      'refuse to start when the newest stamp is older; a number of days, 36h, or off (default: 7)',
    )
    .option(
      '--window-max <hours>',
      'refuse writes when a witness could not be moved for longer; a number of hours, or 30m (default: 24)',
    )
    .option(
      '--allow-network-file-system',
      'make the store on NFS, SMB and the like, where two machines may be able to write to it',
    )
    .action(init);
  addPinSources(addReachOptions(command));
  addHelpParagraph(
    command,
    `Without these options the backup password comes from ${passwordVariable}, a PIN from ${pinVariable}, or each is asked for on the terminal. An empty answer for the password generates a recovery key, which is printed once. For a PIN it means none. A backup password has at least ${newPasswordBytesMin} bytes.`,
  );
}

async function init(directory: string, options: InitOptions): Promise<void> {
  const path = absolutePath(directory);
  const kind = protectorOf(options.protector);
  const secretStore = readSecretStore(path, kind, options);
  const policy = {
    ...(options.allowNetworkFileSystem === true && { allowNetworkFileSystem: true }),
    ...(options.clockTolerance !== undefined && {
      clockToleranceMs: durationMs('--clock-tolerance', options.clockTolerance, 's'),
    }),
    ...(options.maxAge !== undefined && readMaxAge(options.maxAge)),
    ...(options.windowMax !== undefined && {
      windowMaxMs: durationMs('--window-max', options.windowMax, 'h'),
    }),
    ...(options.vendorPublicKey !== undefined && {
      vendorPublicKey: await readPublicKey(options.vendorPublicKey),
    }),
  };
  await refuseExisting(path);
  const password = await readRecoveryPassword(options);
  try {
    const { instance } = options;
    const persistence = await withProtector(kind, options, { role: 'init' }, async (protector) => {
      // Secrets are read by now, from files that only root may read.
      if (options.owner !== undefined) await becomeOwner(options.owner);
      return open({
        directory: path,
        instance,
        create: 'always',
        ...(protector !== undefined && { protector }),
        ...(secretStore !== undefined && { secretStore }),
        recovery: password === undefined ? 'none' : { password },
        ...policy,
      });
    });
    const status = await workAndClose(persistence, () => persistence.status());
    if (options.json === true) await writeJson(documentOf(status));
    else tell(`Made the store ${status.storageId} for the instance ${instance} in ${path}.`);
    if (password === undefined) {
      tell(
        `There is no backup password. A lost ${kind.holder} means lost data${options.vendorPublicKey === undefined ? ', and no restored backup can be accepted' : ''}.`,
      );
    }
  } finally {
    password?.fill(0);
  }
}

/** Checks what the kind takes before anything is read, and reads where its SecretStore is. */
function readSecretStore(
  path: string,
  kind: KeyProtectorKind,
  options: InitOptions,
): SecretStoreOptions | undefined {
  const { secretStore, pin } = options;
  refuseForeign(kind, options);
  if (!pin && kind.command?.choosesPin !== true)
    throw wrongOption(
      `--no-pin belongs to protector ${typesWhere(({ command }) => command?.choosesPin === true)}`,
    );
  kind.command?.protectorOf(options as object as Flags, 'init');
  kind.command?.pinOf(options as object as Flags, 'init', undefined);
  if (secretStore !== undefined) {
    if (kind.hasSecretStore) return readSecretStorePlace(secretStore, path);
    throw wrongOption('--secret-store belongs to the other protectors');
  }
  if (!kind.hasSecretStore) return undefined;
  const without = typesWhere(({ hasSecretStore }) => !hasSecretStore).replaceAll("'", '');
  throw wrongOption(
    `required option '--secret-store <place>' not specified; --protector ${without} does without`,
  );
}

function readMaxAge(text: string): { maxAge: 'off' } | { maxAgeMs: number } {
  if (text === 'off') return { maxAge: 'off' };
  const maxAgeMs = durationMs('--max-age', text, 'd');
  if (maxAgeMs >= maxAgeMsMin) return { maxAgeMs };
  throw wrongOption('--max-age must be at least 60s, or every start is refused; `off` sets no limit');
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
    takeVariable(passwordVariable)?.fill(0);
    return undefined;
  }
  const source = {
    name: 'backup password',
    file,
    fd,
    fileOption: '--recovery-password-file',
    fdOption: '--recovery-password-fd',
    variable: passwordVariable,
  } as const;
  const password = (await findPassword({ ...source, ask: 'no' })) ?? (await askNewPassword());
  if (password !== undefined) {
    try {
      requireStrong(password, 'the backup password', 'invalid-option');
    } catch (error) {
      password.fill(0);
      throw error;
    }
    return password;
  }
  throw wrongOption(
    `a new store needs a backup password: give --recovery-password-file, --recovery-password-fd, ${passwordVariable} or a terminal to ask on. --no-recovery-password makes a store without a way back`,
  );
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
