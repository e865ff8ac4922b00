// decommission: removes a store, or what is left of one whose files are gone.
import { Option, type Command } from 'commander';

import { PersistenceError } from '../errors.js';
import { decommission, findLeftovers, type Leftover, type LeftoverOptions } from '../index.js';
import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { addCredentialOptions, type CredentialOptions } from './password-options.js';
import { readCredential, refusePin, requirePermitOf, withCredential } from './credential.js';
import { ask, needTerminal } from './question.js';
import { look } from './status-command.js';
import { addLockOptions, lockOf, requireStore, type LockOptions } from './store.js';
import { printable, tell, writeJson } from './terminal.js';
import { commandTypes, protectorOf, typesWhere, type KeyProtectorType } from '../protectors/registry.js';
import {
  addProtectorOptions,
  addRoleOptions,
  refuseForeign,
  secretStoreOf,
  withPlaces,
  withProtector,
  type ProtectorFlags,
} from './protector-options.js';

interface DecommissionOptions extends CommonOptions, CredentialOptions, ProtectorFlags, LockOptions {
  readonly yes?: true;
  readonly allowLeftovers?: true;
  readonly leftovers?: true;
  readonly protector?: KeyProtectorType;
  readonly instance?: string;
  readonly object?: string;
}

export function addDecommissionCommand(program: Command): void {
  const command = addCommand(program, 'decommission', 'Remove a store with its secrets, for good.', [
    'strongroom decommission DIR --yes --password-file backup.txt',
    'strongroom decommission DIR --leftovers --instance acme --secret-store file:/var/lib/acme/secrets',
    'strongroom decommission DIR --leftovers --instance acme --protector tpm',
  ])
    .argument('<dir>', 'the directory of the store')
    .option('--yes', 'do not ask for confirmation')
    .option(
      '--allow-leftovers',
      'remove the store although items of it are not found, and print which; without it that is refused',
    )
    .option('--leftovers', 'remove what is left of a store whose persistence.bin is gone')
    .option('--instance <name>', 'with --leftovers: the instance name of the store (default: default)')
    .addOption(
      new Option(
        '--protector <type>',
        'with --leftovers: what wrapped the data encryption key (default: software)',
      ).choices(commandTypes),
    );
  addLockOptions(addCredentialOptions(addProtectorOptions(addRoleOptions(command, 'leftovers'))))
    .addHelpText(
      'after',
      `
A store whose SecretStore, TPM or token is not found is not removed, because its
secrets would stay there.

--leftovers prints what it finds before it asks. It needs no password: what
names the authority went with persistence.bin. With a persistence.bin from a
backup in DIR, run decommission without it.`,
    )
    .action((directory: string, options: DecommissionOptions) =>
      options.leftovers === true ? removeLeftovers(directory, options) : removeStore(directory, options),
    );
}

async function removeStore(directory: string, options: DecommissionOptions): Promise<void> {
  for (const [name, value] of Object.entries({
    '--instance': options.instance,
    '--protector': options.protector,
    '--object': options.object,
  })) {
    if (value !== undefined) throw wrongOption(`${name} belongs to --leftovers`);
  }
  const path = absolutePath(directory);
  const lock = lockOf(options);
  const { instance, storageId } = await requireStore(path);
  if (options.yes !== true)
    await confirm([`This removes the store in ${printable(path)} and its secrets, for good.`], instance);
  let leftBehind: readonly string[] = [];
  // A forgotten PIN must not keep a store from being removed by its password.
  await withPlaces(
    path,
    options,
    async (places) => {
      const { status, protector: type, token, error } = await look(path, places);
      // Another login with it could lock the token, and without --allow-leftovers the token must be reached.
      if (token !== undefined && options.allowLeftovers !== true) refusePin(error);
      requirePermitOf(status?.rewindableBy, options);
      await withCredential(await readCredential(options, type), async (credential) => {
        ({ leftBehind } = await decommission({
          directory: path,
          ...places,
          ...lock,
          credential,
          ...(options.allowLeftovers === true && { allowLeftovers: true }),
        }));
      });
    },
    { isRequired: false },
  );
  if (options.json === true) {
    await writeJson({ decommissioned: true, instance, storageId, leftBehind });
    return;
  }
  tell(`Removed the store ${storageId} of the instance ${printable(instance)}.`);
  for (const name of leftBehind) tell(`  Not found, and so not removed: ${printable(name)}.`);
  if (leftBehind.length > 0)
    tell(
      `  If it appears again, remove it with \`strongroom decommission DIR --leftovers --instance ${printable(instance)}\` and its place.`,
    );
}

async function removeLeftovers(directory: string, options: DecommissionOptions): Promise<void> {
  const path = absolutePath(directory);
  const { instance = 'default' } = options;
  if (options.allowLeftovers === true)
    throw wrongOption('--allow-leftovers and --leftovers exclude each other');
  if (options.waitForLock !== undefined) throw wrongOption('--leftovers waits for no lock');
  for (const [name, value] of Object.entries({
    '--password-file': options.passwordFile,
    '--password-fd': options.passwordFd,
    '--permit-file': options.permitFile,
  })) {
    if (value !== undefined)
      throw wrongOption(`${name}: --leftovers takes no credential, because what names the authority is gone`);
  }
  const removed = await withLeftoverPlaces(path, options, async (places) => {
    const given = { directory: path, instance, ...places };
    const found = await findLeftovers(given);
    if (options.yes !== true && found.length > 0) {
      await confirm(
        [
          'This removes for good:',
          ...found.map((leftover) => `  ${textOf(leftover)}`),
          `A store of the instance ${printable(instance)} whose files are elsewhere opens by its backup password alone after that.`,
        ],
        instance,
      );
    }
    return (await decommission({ ...given, leftovers: true })).leftovers;
  });
  if (options.json === true) await writeJson({ decommissioned: true, instance, leftovers: removed });
  else for (const leftover of removed) tell(`Removed ${textOf(leftover)}.`);
}

function textOf({ name, place, storageId }: Leftover): string {
  const owner = storageId === undefined ? '' : ` of the store ${storageId}`;
  return `${printable(name)}${owner} in ${printable(place)}`;
}

/** Runs work with the places that the options name, and the token's PIN, which is wiped. */
async function withLeftoverPlaces<T>(
  path: string,
  options: DecommissionOptions,
  work: (places: Pick<LeftoverOptions, 'protector' | 'secretStore'>) => Promise<T>,
): Promise<T> {
  const { protector: type = 'software' } = options;
  const kind = protectorOf(type);
  const { secretStore } = secretStoreOf(options, path);
  refuseForeign(kind, options);
  if (!kind.hasSecretStore && secretStore !== undefined)
    throw wrongOption('--secret-store belongs to the other protectors');
  if (kind.hasSecretStore && secretStore === undefined) {
    const without = typesWhere(({ hasSecretStore }) => !hasSecretStore).replaceAll("'", '');
    throw wrongOption(`--leftovers needs '--secret-store <place>', unless it has '--protector ${without}'`);
  }
  return withProtector(kind, options, { role: 'leftovers' }, (protector) =>
    work({ ...(protector && { protector }), ...(secretStore && { secretStore }) }),
  );
}

async function confirm(lines: readonly string[], instance: string): Promise<void> {
  needTerminal('decommission needs --yes');
  for (const line of lines) tell(line);
  const answer = await ask(`Type the instance name (${printable(instance)}) to go on: `);
  if (answer !== instance) throw new PersistenceError('aborted', 'the instance name was not confirmed');
}
