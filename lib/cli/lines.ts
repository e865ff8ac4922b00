// The breaking of long lines: 80 columns on a page of help, the width of the terminal elsewhere. What goes to a pipe or a file
// is not broken, so that it can be searched by line.
import { stripVTControlCharacters } from 'node:util';
import type { WriteStream } from 'node:tty';

/** Of a page of help, wherever it goes. */
export const helpColumns = 80;

/** The columns of a terminal; no limit for what is none. */
export function columnsOf(stream: WriteStream): number {
  return stream.isTTY && stream.columns > 0 ? stream.columns : Number.POSITIVE_INFINITY;
}

/**
 * Breaks the lines of a text between words. A word that is longer stays whole.
 * @param indent - begins the later lines of a broken line, after the spaces that the line begins with
 */
export function wrapped(text: string, columns: number, indent = ''): string {
  return text
    .split('\n')
    .map((line) => wrappedLine(line, columns, indent))
    .join('\n');
}

function wrappedLine(text: string, columns: number, indent: string): string {
  if (widthOf(text) <= columns) return text;
  const begin = /^ */.exec(text)?.[0] ?? '';
  const lines: string[] = [];
  let line = begin;
  let isEmpty = true;
  // A number stays with what it counts or names.
  for (const word of text.slice(begin.length).split(/(?<!\b\d+) /)) {
    if (!isEmpty && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = begin + indent + word;
    } else {
      line += isEmpty ? word : ` ${word}`;
    }
    isEmpty = false;
  }
  return [...lines, line].join('\n');
}

/** A command line of an example, broken before its options as a shell takes it. */
export function exampleLines(command: string): string {
  const begin = '  ';
  const lines: string[] = [];
  let line = begin;
  for (const part of command.split(/ (?=--|\| |3< )/)) {
    // Room for the backslash.
    if (line !== begin && line.length + 1 + part.length > helpColumns - 2) {
      lines.push(`${line} \\`);
      line = `${begin}    ${part}`;
    } else {
      line += line === begin ? part : ` ${part}`;
    }
  }
  return [...lines, line].join('\n');
}

function widthOf(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}
