// tls set and extract: the credential of the application's web server.
import type { Command } from 'commander';

import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { readDescriptor, readFile } from './files.js';
import { addLockOptions, withStore, withStoreForReading } from './store.js';
import { addProtectorOptions, type ProtectorFlags } from './protector-options.js';
import { printable, tell, writeJson } from './terminal.js';

const keyBytesMax = 16 * 1024;
const certificateBytesMax = 256 * 1024;

interface SetOptions extends CommonOptions, ProtectorFlags {
  readonly keyFile?: string;
  readonly keyFd?: string;
  readonly certificateFile: string;
  readonly chainFile?: string;
}

export function addTlsCommand(program: Command): void {
  const tls = program.command('tls').description("The web server's TLS credential.");
  const setCommand = addCommand(
    tls,
    'set',
    'Store key, certificate and chain, PEM each, in place of the former ones.',
    [
      'strongroom tls set DIR --key-file tls.key --certificate-file tls.crt --chain-file chain.pem',
      'strongroom tls set DIR --key-fd 3 --certificate-file tls.crt 3< <(make-key)',
    ],
  )
    .argument('<dir>', 'the directory of the store')
    .option('--key-file <file>', 'the private key, not encrypted')
    .option('--key-fd <n>', 'read it from an open descriptor')
    .requiredOption('--certificate-file <file>', "the server's certificate")
    .option('--chain-file <file>', 'the certificates between it and the root')
    .action(set);
  addLockOptions(addProtectorOptions(setCommand));

  const extractCommand = addCommand(
    tls,
    'extract',
    'Write tls.key, tls.crt and chain.pem into a directory, each with mode 0600.',
    ['strongroom tls extract DIR /etc/acme/tls'],
  )
    .argument('<dir>', 'the directory of the store')
    .argument('<target>', 'the directory for the files; only its owner may write to it')
    .action(extract);
  addProtectorOptions(extractCommand);
}

async function set(directory: string, options: SetOptions): Promise<void> {
  const [certificate, chain] = await Promise.all([
    readFile(options.certificateFile, certificateBytesMax),
    options.chainFile === undefined ? Buffer.alloc(0) : readFile(options.chainFile, certificateBytesMax),
  ]);
  const key = await readKey(options);
  try {
    await withStore(directory, options, ({ tls }) => tls.set({ key, certificate, chain }));
  } finally {
    key.fill(0);
  }
  if (options.json === true) await writeJson({ stored: true, chain: chain.length > 0 });
  else tell('Stored the TLS credential.');
}

function readKey({ keyFile, keyFd }: SetOptions): Promise<Buffer> {
  if ((keyFile === undefined) === (keyFd === undefined))
    throw wrongOption('give either --key-file or --key-fd');
  if (keyFile !== undefined) return readFile(keyFile, keyBytesMax);
  if (keyFd === undefined || !/^\d{1,6}$/.test(keyFd)) {
    throw wrongOption('--key-fd takes the number of an open descriptor');
  }
  return readDescriptor(Number(keyFd), keyBytesMax);
}

async function extract(
  directory: string,
  target: string,
  options: CommonOptions & ProtectorFlags,
): Promise<void> {
  const place = absolutePath(target);
  const certificate = await withStoreForReading(directory, options, async ({ tls }) => {
    await tls.extract({ directory: place });
    return tls.certificate();
  });
  const files = ['tls.key', 'tls.crt', ...(certificate?.chain === '' ? [] : ['chain.pem'])];
  if (options.json === true) await writeJson({ directory: place, files });
  else tell(`Wrote ${files.join(', ')} in ${printable(place)}.`);
}
