// What the commands have in common.
import { join, relative } from 'node:path';
import type { Command } from 'commander';

import type { SecretStoreOptions } from '../index.js';
import { toAbsolute } from '../options/readers.js';
import { wrongArgument, wrongOption } from './failure.js';
import { exampleLines, helpColumns, wrapped } from './lines.js';
import { printable } from './terminal.js';

/** The options that every command has. */
export interface CommonOptions {
  readonly json?: true;
}

/** A new command under `parent`, with `--json`, its examples, and no more arguments than declared. */
export function addCommand(
  parent: Command,
  signature: string,
  description: string,
  examples: readonly string[],
): Command {
  return parent
    .command(signature)
    .description(description)
    .allowExcessArguments(false)
    .option('--json', 'answer in JSON; errors as a JSON object on standard error')
    .addHelpText(
      'after',
      ['', examples.length > 1 ? 'Examples:' : 'Example:', ...examples.map(exampleLines)].join('\n'),
    );
}

/** Adds a paragraph at the end of a command's page of help. */
export function addHelpParagraph(command: Command, text: string): Command {
  return command.addHelpText('after', `\n${wrapped(text, helpColumns)}`);
}

/** The absolute path of an argument. */
export function absolutePath(path: string): string {
  if (path === '' || path.includes('\0')) throw wrongArgument('a path is empty or holds a NUL');
  return toAbsolute(path, `the path ${printable(path)}`);
}

/** `file:PATH`, outside the store's directory, or `secret-service`. */
export function readSecretStorePlace(text: string, directory: string): SecretStoreOptions {
  if (text === 'secret-service') return { type: 'secret-service' };
  if (!/^file:./.test(text)) throw wrongOption('--secret-store takes file:PATH or secret-service');
  const place = absolutePath(text.slice('file:'.length));
  // What is restored together with the store cannot tell that the store was restored.
  const inside = relative(directory, place);
  if (inside === '' || !(inside === '..' || inside.startsWith('../'))) {
    throw wrongOption(
      `--secret-store must lie outside ${directory}, such as ${join(directory, '../secrets')}`,
    );
  }
  return { type: 'file', directory: place };
}
