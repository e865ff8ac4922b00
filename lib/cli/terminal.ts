// The command line's two ways out. Standard output carries data and nothing else; every message, prompt and progress bar
// goes to standard error. What comes from a file or a name is made printable before it reaches a terminal.
import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';

export { printable } from '../printable.js';

/** Standard output was closed by its reader, as `head` does: no failure, but nothing more can be written. */
export class OutputClosed extends Error {}

/** Writes to standard output and resolves when the bytes were taken, so that a slow reader slows the command. */
export function writeData(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => {
      if (error === null || error === undefined) resolve();
      else if ((error as NodeJS.ErrnoException).code === 'EPIPE') reject(new OutputClosed());
      else reject(error);
    });
  });
}

/** One JSON document on a line of standard output; BigInt as a decimal string. */
export function writeJson(value: unknown): Promise<void> {
  return writeData(`${toJson(value)}\n`);
}

/** JSON text on one line; BigInt as a decimal string. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'bigint' ? member.toString() : member,
  );
}

/** A line on standard error. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Whether colours may be used: on a terminal that is not a dumb one, and never with NO_COLOR (https://no-color.org). */
export function hasColours(stream: WriteStream): boolean {
  const { NO_COLOR: noColor, TERM: terminal } = process.env;
  return stream.isTTY && (noColor === undefined || noColor === '') && terminal !== 'dumb';
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';
/** Styles a text for one stream; returns it unchanged where colours may not be used. */
export type Paint = (style: Style, text: string) => string;

export function painter(stream: WriteStream): Paint {
  return hasColours(stream) ? (style, text) => styleText(style, text) : (_, text) => text;
}
