// get, set, delete, increment and list: the vault's records.
import { Argument, Option, type Command } from 'commander';

import { PersistenceError } from '../errors.js';
import { addCommand, type CommonOptions } from './command.js';
import { KeyAbsent, wrongArgument, wrongOption } from './failure.js';
import { readFile, readStandardInput } from './files.js';
import { bigWholeNumber, wholeNumber } from './numbers.js';
import { addLockOptions, withStore, withStoreForReading } from './store.js';
import { addProtectorOptions, type ProtectorFlags } from './protector-options.js';
import { tell, toJson, writeData, writeJson } from './terminal.js';

const valueBytesMax = 16 * 1024 * 1024;
const counterBytes = 8;
const listedAtOnce = 64 * 1024;

const addReading: typeof addCommand = (...parts) => addProtectorOptions(addCommand(...parts));
const addWriting: typeof addCommand = (...parts) => addLockOptions(addReading(...parts));

export function addVaultCommands(program: Command): void {
  addReading(program, 'get', 'Write the value under a key to standard output, byte for byte.', [
    'strongroom get DIR config/server > server.json',
    'strongroom get DIR seats/cad --counter',
  ])
    .argument('<dir>', 'the directory of the store')
    .argument('<key>', 'the key')
    .option('--counter', 'print the value, which is a counter, as a number')
    .action(get);

  addWriting(program, 'set', 'Store a value: the argument, a file, or else standard input as it is.', [
    'strongroom set DIR seats/cad/limit 25',
    'strongroom set DIR config/server --file server.json',
    'generate | strongroom set DIR blob',
  ])
    .argument('<dir>', 'the directory of the store')
    .argument('<key>', 'the key, 1 to 1,024 bytes')
    .argument('[value]', 'the value as text; visible to other users, so no place for secrets')
    .option('--file <file>', 'read the value from a file')
    .action(set);

  addWriting(program, 'delete', 'Remove a key. A missing key is no error.', [
    'strongroom delete DIR seats/cad',
  ])
    .argument('<dir>', 'the directory of the store')
    .argument('<key>', 'the key')
    .action(remove);

  addWriting(program, 'increment', 'Add to a counter and print the result. A missing counter is 0.', [
    'strongroom increment DIR tokens/cad',
    'strongroom increment DIR tokens/cad --by -5 --min 0',
  ])
    .argument('<dir>', 'the directory of the store')
    .argument('<key>', 'the key')
    .addOption(new Option('--by <n>', 'add this number; a negative one takes away').default('1'))
    .option('--min <n>', 'refuse to fall below')
    .option('--max <n>', 'refuse to rise above')
    .action(increment);

  addReading(program, 'list', 'List the keys in the order of their bytes, one a line.', [
    'strongroom list DIR --prefix seats/ --limit 20',
    'strongroom list DIR --values --json',
  ])
    .addArgument(new Argument('<dir>', 'the directory of the store'))
    .option('--prefix <text>', 'list only keys that begin with this text')
    .option('--limit <n>', 'list at most n keys')
    .option('--reverse', 'list from the last key to the first')
    .option('--values', 'list the values too, after a tab')
    .action(list);
}

async function get(
  directory: string,
  key: string,
  options: CommonOptions & ProtectorFlags & { counter?: true },
): Promise<void> {
  const value = await withStoreForReading(directory, options, ({ vault }) => vault.get(key));
  if (value === undefined) throw new KeyAbsent(key);
  if (options.counter === true) {
    const counter = readCounter(key, value);
    await (options.json === true ? writeJson({ key, counter }) : writeData(`${counter.toString()}\n`));
  } else {
    await (options.json === true ? writeJson({ key, value: value.toString('base64') }) : writeData(value));
  }
}

function readCounter(key: string, value: Buffer): bigint {
  if (value.length === counterBytes) return value.readBigInt64BE();
  const message = `the value under ${JSON.stringify(key)} has ${value.length} bytes and is no counter`;
  throw new PersistenceError('not-a-counter', message);
}

async function set(
  directory: string,
  key: string,
  argument: string | undefined,
  options: CommonOptions & ProtectorFlags & { file?: string },
): Promise<void> {
  if (argument !== undefined && options.file !== undefined) {
    throw wrongOption('--file and a value as argument exclude each other');
  }
  const value = await readValue(argument, options.file);
  const generation = await withStore(directory, options, async (persistence) => {
    await persistence.vault.set(key, value);
    return persistence.status().generation;
  });
  if (options.json === true) await writeJson({ key, bytes: value.length, generation });
}

function readValue(argument: string | undefined, file: string | undefined): Promise<Buffer> {
  if (file !== undefined) return readFile(file, valueBytesMax);
  if (argument !== undefined) {
    // Node decodes the arguments; what was not UTF-8 can no longer be told.
    if (argument.includes('\u{fffd}'))
      throw wrongArgument('the value is not UTF-8; give it by --file or standard input');
    return Promise.resolve(Buffer.from(argument, 'utf8'));
  }
  if (process.stdin.isTTY) tell('The value is read from the terminal; Ctrl-D on an empty line ends it.');
  return readStandardInput(valueBytesMax);
}

async function remove(
  directory: string,
  key: string,
  options: CommonOptions & ProtectorFlags,
): Promise<void> {
  const [deleted, generation] = await withStore(directory, options, async (persistence) => {
    const present = persistence.vault.has(key);
    await persistence.vault.delete(key);
    return [present, persistence.status().generation];
  });
  if (options.json === true) await writeJson({ key, deleted, generation });
}

async function increment(
  directory: string,
  key: string,
  options: CommonOptions & ProtectorFlags & { by: string; min?: string; max?: string },
): Promise<void> {
  const by = bigWholeNumber('--by', options.by);
  const bounds = {
    ...(options.min !== undefined && { min: bigWholeNumber('--min', options.min) }),
    ...(options.max !== undefined && { max: bigWholeNumber('--max', options.max) }),
  };
  const counter = await withStore(directory, options, ({ vault }) => vault.increment(key, by, bounds));
  await (options.json === true ? writeJson({ key, counter }) : writeData(`${counter.toString()}\n`));
}

interface ListOptions extends CommonOptions, ProtectorFlags {
  readonly prefix?: string;
  readonly limit?: string;
  readonly reverse?: true;
  readonly values?: true;
}

async function list(directory: string, options: ListOptions): Promise<void> {
  const range = {
    keyEncoding: 'buffer',
    reverse: options.reverse === true,
    ...(options.prefix !== undefined && { prefix: options.prefix }),
    ...(options.limit !== undefined && { limit: wholeNumber('--limit', options.limit) }),
  } as const;
  const line = options.json === true ? jsonLine : textLine;
  await withStoreForReading(directory, options, async ({ vault }) => {
    let lines = '';
    const write = async (text: string): Promise<void> => {
      lines += text;
      if (lines.length < listedAtOnce) return;
      await writeData(lines);
      lines = '';
    };
    if (options.values === true) {
      for (const [key, value] of vault.entries(range)) await write(line(key, value));
    } else {
      for (const key of vault.keys(range)) await write(line(key));
    }
    if (lines !== '') await writeData(lines);
  });
}

function jsonLine(key: Buffer, value?: Buffer): string {
  const text = textOf(key);
  return `${toJson({
    ...(text === undefined ? { keyBase64: key.toString('base64') } : { key: text }),
    ...(value !== undefined && { value: value.toString('base64') }),
  })}\n`;
}

function textLine(key: Buffer, value?: Buffer): string {
  return value === undefined ? `${lineOf(key)}\n` : `${lineOf(key)}\t${lineOf(value)}\n`;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Buffer): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Bytes as part of a line: text as it is unless it would break the line, anything else as base64. */
function lineOf(bytes: Buffer): string {
  const text = textOf(bytes);
  return text === undefined || /\p{C}|\p{Zl}|\p{Zp}|^base64:/u.test(text)
    ? `base64:${bytes.toString('base64')}`
    : text;
}
