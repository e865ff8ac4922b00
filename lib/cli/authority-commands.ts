// reanchor, recover and reseal: administrative operations.
import type { Command } from 'commander';

import { PersistenceError } from '../errors.js';
import { reanchor, recover, reseal, type KeyProtectorOptions, type Persistence } from '../index.js';
import { lossOf, type Loss } from '../operations/loss.js';
import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { canAsk } from './hidden-prompt.js';
import { confirmGeneration, lossText } from './loss.js';
import { wholeNumber } from './numbers.js';
import { addCredentialOptions, type CredentialOptions } from './password-options.js';
import { readBoth, readCredential, refusePin, requirePermitOf, withCredential } from './credential.js';
import { documentOf, look } from './status-command.js';
import { workAndClose, addLockOptions, lockOf, requireStore, type LockOptions } from './store.js';
import { tell, writeData, writeJson } from './terminal.js';
import { protectorOf } from '../protectors/registry.js';
import {
  addProtectorOptions,
  addRoleOptions,
  refuseForeign,
  secretStoreOf,
  withPlaces,
  withProtector,
  type ProtectorFlags,
} from './protector-options.js';

const unknownLoss = 'What this accepts and gives up is not known before the backup password opens the store.';

type AdministrativeOptions = CommonOptions & LockOptions & CredentialOptions & ProtectorFlags;

export function addAuthorityCommands(program: Command): void {
  const reanchorCommand = addCommand(
    program,
    'reanchor',
    'Accept the current state as the newest, after a legitimate restore, a lost witness or a long shutdown.',
    [
      'strongroom reanchor DIR --plan',
      'strongroom reanchor DIR --password-file backup.txt',
      'strongroom reanchor DIR --permit-file permit.txt',
    ],
  )
    .argument('<dir>', 'the directory of the store')
    .option('--plan', 'only print what would be accepted and given up, and change nothing')
    .option('--generation <n>', 'accept this generation without asking, and no other');
  // Without --wait-for-lock: what is accepted is shown and confirmed, and another process could commit during the wait.
  addCredentialOptions(addProtectorOptions(reanchorCommand)).action(runReanchor);

  const recoverCommand = addCommand(
    program,
    'recover',
    'Open a store whose root key is lost by its backup password, and give it a new root key.',
    ['strongroom recover DIR', 'strongroom recover DIR --secret-store file:/var/lib/acme/new-secrets'],
  )
    .argument('<dir>', 'the directory of the store')
    .option(
      '--secret-store <place>',
      'put the new root key here, and not where the old one was: file:PATH or secret-service',
    );
  addLockOptions(addCredentialOptions(recoverCommand)).action(runRecover);

  const resealCommand = addCommand(
    program,
    'reseal',
    'Seal the root key of a store again in the current TPM, after the TPM refused it.',
    [
      'strongroom reseal DIR',
      'strongroom reseal DIR --pcrs 0,7 --pin-file pin.txt --password-file backup.txt',
    ],
  ).argument('<dir>', 'the directory of the store');
  addRoleOptions(resealCommand, 'reseal').option('--no-pin', 'seal without a PIN where there was one');
  addLockOptions(addCredentialOptions(addProtectorOptions(resealCommand))).action(runReseal);
}

interface ReanchorOptions extends Omit<AdministrativeOptions, keyof LockOptions> {
  readonly plan?: true;
  readonly generation?: string;
}

async function runReanchor(directory: string, options: ReanchorOptions): Promise<void> {
  const path = absolutePath(directory);
  const expected =
    options.generation === undefined ? undefined : wholeNumber('--generation', options.generation);
  await withPlaces(path, options, async (places) => {
    const { verdict, status, protector: type, error } = await look(path, places);
    refusePin(error);
    if (verdict === 'ok' && status?.continuity === 'proven') {
      throw new PersistenceError('nothing-to-do', 'every verdict is ok');
    }
    // A TPM shows nothing of a state that it refuses the root to.
    const loss = status && lossOf(verdict, status);
    if (options.plan === true) {
      if (options.json === true) await writeJson({ verdict, loss: loss ?? null });
      else await writeData(`${loss === undefined ? unknownLoss : lossText(loss)}\n`);
      return;
    }
    if (options.json !== true) tell(loss === undefined ? unknownLoss : lossText(loss));
    requirePermitOf(status?.rewindableBy, options);
    if (expected !== undefined && loss !== undefined && loss.generation !== expected) {
      throw new PersistenceError(
        'aborted',
        `--generation ${expected} is not what the store holds, which is generation ${loss.generation}`,
      );
    }
    if (expected === undefined && loss !== undefined && canAsk()) await confirmGeneration(loss);
    await withCredential(await readCredential(options, type), async (credential) => {
      await tellResult(await reanchor({ directory: path, ...places, credential }), options, 'Accepted', loss);
    });
  });
}

async function runReseal(
  directory: string,
  options: AdministrativeOptions & { pin: boolean },
): Promise<void> {
  const path = absolutePath(directory);
  const header = await requireStore(path);
  const kind = protectorOf(header.protector);
  if (kind.command?.options.reseal === undefined)
    throw new PersistenceError('nothing-to-do', 'this store has no root in a TPM');
  if (!kind.hasSecretStore && options.secretStore !== undefined)
    throw wrongOption(`--secret-store: protector '${kind.type}' has no SecretStore`);
  refuseForeign(kind, options);
  const lock = lockOf(options);
  await withProtector(kind, options, { role: 'reseal', header }, async (protector) => {
    // The password opens the store; a vendor's permit, where there is a vendor, permits it.
    const credential = await readBoth(options);
    await withCredential(credential, async () => {
      const persistence = await reseal({
        directory: path,
        ...lock,
        protector: { ...protector, ...(!options.pin && { pin: 'none' }) } as KeyProtectorOptions,
        credential,
      });
      const { continuity } = persistence.status();
      await tellResult(persistence, options, 'Sealed the root of');
      if (continuity === 'unproven' && options.json !== true)
        tell('The counter was lost with the root: continuity is unproven until `strongroom reanchor`.');
    });
  });
}

async function runRecover(directory: string, options: AdministrativeOptions): Promise<void> {
  const path = absolutePath(directory);
  const place = secretStoreOf(options, path);
  const lock = lockOf(options);
  const { protector: type } = await requireStore(path);
  const instead = protectorOf(type).insteadOfRecover;
  if (instead !== undefined) throw new PersistenceError('nothing-to-do', instead);
  // The password opens the store; a vendor's permit, where there is a vendor, permits it.
  const credential = await readBoth(options);
  await withCredential(credential, async () => {
    const persistence = await recover({
      directory: path,
      ...lock,
      credential,
      ...place,
    });
    await tellResult(persistence, options, 'Recovered');
  });
  if (options.json !== true)
    tell('Its continuity is unproven until `strongroom reanchor` accepts the current state.');
}

async function tellResult(
  persistence: Persistence,
  options: CommonOptions,
  verb: string,
  loss?: Loss,
): Promise<void> {
  const status = await workAndClose(persistence, () => persistence.status());
  if (options.json === true) await writeJson({ ...documentOf(status), ...(loss && { loss }) });
  else tell(`${verb} the store ${status.storageId} at generation ${status.generation}.`);
}
