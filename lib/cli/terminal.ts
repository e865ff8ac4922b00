// The command line's two ways out. Standard output carries data and nothing else; every message, prompt and progress bar
// goes to standard error. What comes from a file or a name is made printable before it reaches a terminal.
import type { WriteStream } from 'node:tty';
import { getSystemErrorMap, styleText } from 'node:util';

import { printable } from '../base/printable.js';
import { columnsOf, wrapped } from './lines.js';

export { printable };

/** Standard output was closed by its reader, as `head` does: no failure, but nothing more can be written. */
export class OutputClosed extends Error {
  constructor() {
    super('the reader of the output went away');
  }
}

/** What a command has to say cannot be written: a full disk, a quota, a device that fails. */
export class OutputFailed extends Error {
  constructor(name: string, cause: Error) {
    super(`${name} cannot be written: ${causeOf(cause)}`, { cause });
  }
}

function causeOf(error: Error): string {
  const [code, text] = getSystemErrorMap().get((error as NodeJS.ErrnoException).errno ?? 0) ?? [];
  return code === undefined ? error.message : `${text ?? ''} (${code})`;
}

/** Of the first write that failed; Node answers later ones with an error of its own. */
const failures = new Map<NodeJS.WritableStream, Error>();

function write(stream: NodeJS.WritableStream, name: string, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error?: Error | null) => {
      if (error === null || error === undefined) {
        resolve();
        return;
      }
      const closed = (error as NodeJS.ErrnoException).code === 'EPIPE';
      const failure = failures.get(stream) ?? (closed ? new OutputClosed() : new OutputFailed(name, error));
      failures.set(stream, failure);
      reject(failure);
    });
  });
}

/**
 * Writes to standard output and resolves when the bytes were taken, so that a slow reader slows the command.
 * @throws OutputClosed, OutputFailed
 */
export function writeData(data: string | Uint8Array): Promise<void> {
  return write(process.stdout, 'standard output', data);
}

/** A line on standard error that must not be lost. */
export function writeMessage(text: string): Promise<void> {
  return write(process.stderr, 'standard error', `${text}\n`);
}

/** One JSON document on a line of standard output; BigInt as a decimal string. The first one has what was noticed. */
export function writeJson(value: object): Promise<void> {
  return writeData(`${toJson({ ...takeNoticed(), ...value })}\n`);
}

interface Noticed {
  readonly kind: string;
  readonly message: string;
}

/** How a command answers: to people, or with `--json`. */
export type OutputFormat = 'text' | 'json';

let format: OutputFormat = 'text';
let noticed: readonly Noticed[] = [];
const told = new Set<string>();

/** How the command answers: in JSON notices stand in its documents. */
export function answerIn(chosen: OutputFormat): void {
  format = chosen;
}

/** What an opening found and mended, each once: on standard error, or in the next JSON document. */
export function tellNoticed(found: readonly Noticed[]): void {
  const fresh = found.filter(({ kind }) => !told.has(kind));
  for (const { kind, message } of fresh) {
    told.add(kind);
    if (format === 'text') tell(`notice: ${printable(message)} [${kind}]`);
  }
  if (format === 'json') noticed = [...noticed, ...fresh];
}

/** What was noticed and not yet written, as a member of a JSON document. */
export function takeNoticed(): { readonly notices?: readonly Noticed[] } {
  if (noticed.length === 0) return {};
  const notices = noticed;
  noticed = [];
  return { notices };
}

/** JSON text on one line; BigInt as a decimal string. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'bigint' ? member.toString() : member,
  );
}

/**
 * Lines on standard error, broken where a terminal is narrower. Where they cannot be written they are lost, and the exit code
 * says how it went.
 */
export function tell(text: string): void {
  process.stderr.write(`${wrapped(text, columnsOf(process.stderr))}\n`);
}

/** A JSON document as one line on standard error. */
export function tellJson(value: unknown): void {
  process.stderr.write(`${toJson(value)}\n`);
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
