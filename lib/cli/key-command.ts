// key generate, list, public, chain, sign, deactivate, reactivate and remove: the managed keys.
import { Option, type Command } from 'commander';

import type { KeyAlgorithm, KeyLocation, ManagedKey } from '../index.js';
import { addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { readFile, readStandardInput } from './files.js';
import { table, timeText } from './report.js';
import { addLockOptions, withStore, withStoreForReading, type LockOptions } from './store.js';
import { addProtectorOptions, type ProtectorFlags } from './protector-options.js';
import { printable, tell, writeData, writeJson } from './terminal.js';

const messageBytesMax = 1024 * 1024;
// Of native/base/limits.h.
const chainBytesMax = 256 * 1024;

type AddSubcommand = (name: string, description: string, examples: readonly string[]) => Command;

export function addKeyCommand(program: Command): void {
  const key = program.command('key').description('Managed signing keys.');
  const reading: AddSubcommand = (name, description, examples) =>
    addProtectorOptions(addCommand(key, name, description, examples)).argument(
      '<dir>',
      'the directory of the store',
    );
  const writing: AddSubcommand = (...parts) => addLockOptions(reading(...parts));
  addUses(reading, writing);
  addStates(writing);
}

function addUses(reading: AddSubcommand, writing: AddSubcommand): void {
  writing('generate', 'Make a key. Its private half never leaves the store.', [
    'strongroom key generate DIR ca-1 --algorithm EC-P384',
  ])
    .argument('<id>', 'its name: 1 to 64 of A-Z a-z 0-9 . _ -')
    .addOption(
      new Option('--algorithm <name>', 'what it signs with')
        .choices(['EC-P256', 'EC-P384', 'RSA-3072', 'Ed25519'])
        .default('EC-P256'),
    )
    .addOption(
      new Option('--location <place>', 'where the private half lives')
        .choices(['vault', 'hsm'])
        .default('vault'),
    )
    .action(generate);

  reading('list', 'List the keys.', ['strongroom key list DIR', 'strongroom key list DIR --json']).action(
    list,
  );

  reading('public', 'Write the public key to standard output: SubjectPublicKeyInfo, PEM.', [
    'strongroom key public DIR ca-1 > ca-1.pem',
  ])
    .argument('<id>', 'the key')
    .option('--der', 'in DER, as bytes')
    .action(writePublicKey);

  writing('chain', 'Write the certificate chain of a key to standard output, attach one or remove it.', [
    'strongroom key chain DIR ca-1 > ca-1-chain.pem',
    'strongroom key chain DIR ca-1 --attach ca-1-chain.pem',
  ])
    .argument('<id>', 'the key')
    .option('--attach <file>', "keep this chain with the key: PEM, the key's own certificate first")
    .option('--remove', 'forget the chain')
    .action(chain);

  reading('sign', 'Write a signature to standard output, over a file or else standard input as it is.', [
    'strongroom key sign DIR ca-1 --file licence.json > licence.sig',
    'strongroom key sign DIR ca-1 --digest 9f86d081… --format raw > digest.sig',
  ])
    .argument('<id>', 'the key')
    .option('--file <file>', 'the message, at most 1 MiB')
    .option('--digest <hex>', 'sign this digest; its size is that of the algorithm')
    .addOption(new Option('--format <name>', 'of an EC signature').choices(['der', 'raw']).default('der'))
    .action(sign);
}

function addStates(writing: AddSubcommand): void {
  writing('deactivate', 'Make a key refuse to sign.', [
    "strongroom key deactivate DIR ca-1 --reason 'token lost on 3 May'",
  ])
    .argument('<id>', 'the key')
    .requiredOption('--reason <text>', 'why; kept with the key')
    .action(deactivate);

  writing('reactivate', 'Let a key sign again, if it answers a challenge.', [
    'strongroom key reactivate DIR ca-1',
  ])
    .argument('<id>', 'the key')
    .action(reactivate);

  writing('remove', 'Remove a key for good.', ['strongroom key remove DIR ca-1 --yes'])
    .argument('<id>', 'the key')
    .option('--yes', 'needed: there is no way back')
    .action(remove);
}

function documentOf(key: ManagedKey): object {
  return { ...key, createdAt: key.createdAt.toISOString() };
}

async function generate(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags & { algorithm: KeyAlgorithm; location: KeyLocation },
): Promise<void> {
  const { algorithm, location } = options;
  const key = await withStore(directory, options, ({ keys }) => keys.generate({ id, algorithm, location }));
  if (options.json === true) await writeJson(documentOf(key));
  else tell(`Made the key ${key.id} (${key.algorithm}, ${key.location}).`);
}

async function list(directory: string, options: CommonOptions & ProtectorFlags): Promise<void> {
  const keys = await withStoreForReading(directory, options, (persistence) => persistence.keys.list());
  if (options.json === true) {
    for (const key of keys) await writeJson(documentOf(key));
    return;
  }
  const lineOf = ({ algorithm, location, state, reason, createdAt }: ManagedKey): string =>
    [algorithm.padEnd(8), location.padEnd(5), timeText(createdAt.getTime()), state].join('  ') +
    (reason === undefined ? '' : `: ${printable(reason)}`);
  await writeData(table(keys.map((key) => [key.id, lineOf(key)])));
}

async function writePublicKey(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags & { der?: true },
): Promise<void> {
  const der = await withStoreForReading(directory, options, ({ keys }) => keys.publicKey(id));
  if (options.der === true && options.json === true) throw wrongOption('--der and --json exclude each other');
  const { createPublicKey } = await import('node:crypto');
  const pem = createPublicKey({ key: der, format: 'der', type: 'spki' }).export({
    format: 'pem',
    type: 'spki',
  });
  if (options.json === true) await writeJson({ id, publicKey: pem });
  else await writeData(options.der === true ? der : pem.toString());
}

async function chain(
  directory: string,
  id: string,
  options: CommonOptions & LockOptions & ProtectorFlags & { attach?: string; remove?: true },
): Promise<void> {
  const { attach, remove: forget } = options;
  if (attach !== undefined && forget === true) throw wrongOption('--attach and --remove exclude each other');
  if (attach === undefined && forget !== true && options.waitForLock !== undefined)
    throw wrongOption('--wait-for-lock belongs to --attach and --remove');
  if (attach !== undefined || forget === true) {
    const pem = attach === undefined ? '' : await readFile(attach, chainBytesMax);
    await changed(
      directory,
      id,
      options,
      forget === true ? 'Removed the chain of' : 'Attached the chain to',
      ({ keys }) => keys.attachCertificateChain(id, pem),
    );
    return;
  }
  const pem = await withStoreForReading(directory, options, ({ keys }) => keys.certificateChain(id));
  if (options.json === true) await writeJson({ id, chain: pem ?? null });
  else if (pem === undefined) tell(`The key ${printable(id)} has no certificate chain.`);
  else await writeData(pem);
}

async function sign(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags & { file?: string; digest?: string; format: 'der' | 'raw' },
): Promise<void> {
  const { file, digest, format } = options;
  if (file !== undefined && digest !== undefined) throw wrongOption('--file and --digest exclude each other');
  if (digest !== undefined && !/^([0-9a-f]{2})+$/i.test(digest)) {
    throw wrongOption('--digest takes bytes in hexadecimal');
  }
  const input =
    digest === undefined
      ? { message: await readMessage(file), format }
      : { digest: Buffer.from(digest, 'hex'), format };
  const signature = await withStoreForReading(directory, options, ({ keys }) => keys.sign(id, input));
  if (options.json === true) await writeJson({ id, signature: signature.toString('base64') });
  else await writeData(signature);
}

function readMessage(file: string | undefined): Promise<Buffer> {
  if (file !== undefined) return readFile(file, messageBytesMax);
  if (process.stdin.isTTY) tell('The message is read from the terminal; Ctrl-D on an empty line ends it.');
  return readStandardInput(messageBytesMax);
}

async function deactivate(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags & { reason: string },
): Promise<void> {
  await changed(directory, id, options, 'Deactivated', ({ keys }) => keys.deactivate(id, options.reason));
}

async function reactivate(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags,
): Promise<void> {
  await changed(directory, id, options, 'Reactivated', ({ keys }) => keys.reactivate(id));
}

async function changed(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags,
  verb: string,
  work: Parameters<typeof withStore<void>>[2],
): Promise<void> {
  const key = await withStore(directory, options, async (persistence) => {
    await work(persistence);
    return persistence.keys.get(id);
  });
  if (options.json === true) await writeJson(documentOf(key));
  else tell(`${verb} the key ${key.id}.`);
}

async function remove(
  directory: string,
  id: string,
  options: CommonOptions & ProtectorFlags & { yes?: true },
): Promise<void> {
  if (options.yes !== true) throw wrongOption('removing a key cannot be undone: give --yes');
  await withStore(directory, options, ({ keys }) => keys.remove(id));
  if (options.json === true) await writeJson({ id, removed: true });
  else tell(`Removed the key ${printable(id)}.`);
}
