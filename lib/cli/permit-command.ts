// permit sign: the vendor's tool.
import { Option, type Command } from 'commander';

import { signPermit, type PermitPurpose } from '../index.js';
import { addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { readFile, readStandardInput } from './files.js';
import { wholeNumber } from './numbers.js';
import { renamedFields } from './renamed.js';
import { writeData, writeJson } from './terminal.js';

const statusBytesMax = 1024 * 1024;
const keyBytesMax = 4096;

interface SignOptions extends CommonOptions {
  readonly privateKeyFile: string;
  readonly purpose: PermitPurpose;
  readonly statusFile?: string;
  readonly storageId?: string;
  readonly generation?: string;
  readonly head?: string;
}

/** Who and where a permit is for. */
interface SignedCheckpoint {
  readonly storageId: string;
  readonly generation: number;
  readonly head: string;
}

export function addPermitCommand(program: Command): void {
  const permit = program.command('permit').description("Make a vendor's permits.");
  addCommand(permit, 'sign', 'Sign a permit for one store, one checkpoint and one purpose.', [
    'strongroom status DIR --json > status.json',
    'strongroom permit sign --private-key-file vendor.pem --purpose reanchor --status-file status.json',
  ])
    .requiredOption('--private-key-file <file>', "the vendor's Ed25519 private key, PEM")
    .addOption(
      new Option('--purpose <operation>', 'what the permit allows')
        .choices(['reanchor', 'recover', 'reseal', 'decommission'])
        .makeOptionMandatory(),
    )
    .option(
      '--status-file <file>',
      'the answer of `strongroom status --json`, in place of the next three; - is standard input',
    )
    .option('--storage-id <hex>', 'the id of the store')
    .option('--generation <n>', "its present generation: the status's permitCheckpoint.generation")
    .option('--head <hex>', "its present head: the status's permitCheckpoint.head")
    .action(sign);
}

async function sign(options: SignOptions): Promise<void> {
  const { purpose } = options;
  const checkpoint = await readCheckpoint(options);
  const privateKey = await readFile(options.privateKeyFile, keyBytesMax);
  try {
    const permit = signPermit({ privateKey, purpose, ...checkpoint });
    await (options.json === true ? writeJson({ permit, purpose, ...checkpoint }) : writeData(`${permit}\n`));
  } finally {
    privateKey.fill(0);
  }
}

async function readCheckpoint({
  statusFile,
  storageId,
  generation,
  head,
}: SignOptions): Promise<SignedCheckpoint> {
  if (statusFile !== undefined) {
    if (storageId !== undefined || generation !== undefined || head !== undefined) {
      throw wrongOption('--status-file excludes --storage-id, --generation and --head');
    }
    return readStatus(
      await (statusFile === '-' ? readStandardInput(statusBytesMax) : readFile(statusFile, statusBytesMax)),
    );
  }
  if (storageId === undefined || generation === undefined || head === undefined) {
    throw wrongOption('give --status-file, or all of --storage-id, --generation and --head');
  }
  return { storageId, generation: wholeNumber('--generation', generation), head };
}

function readStatus(content: Buffer): SignedCheckpoint {
  let status: unknown;
  try {
    status = JSON.parse(content.toString('utf8'));
  } catch (cause) {
    throw wrongOption(`--status-file is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const { storageId, permitCheckpoint, ...rest } = Object(status) as Record<string, unknown>;
  // Without its own checkpoint a TPM's store would be given a permit that fits nothing.
  for (const [old, name] of renamedFields)
    if (old in rest)
      throw wrongOption(
        `--status-file: ${old} is called ${name} now; take the status again with this release, or give --storage-id, --generation and --head`,
      );
  const { generation, head } = Object(permitCheckpoint ?? rest) as Record<string, unknown>;
  if (typeof storageId === 'string' && typeof generation === 'number' && typeof head === 'string') {
    return { storageId, generation, head };
  }
  throw wrongOption(
    '--status-file has no storageId, generation and head: the store could not be read that far',
  );
}
