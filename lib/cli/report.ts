// The shapes of reports for people.
import type { KeySlot } from '../store/status.js';
import { wrapped } from './lines.js';
import { printable } from './terminal.js';

export { durationText, grouped, limitText, sizeText } from '../base/units.js';

const labelColumns = 16;
const headCharacters = 16;

/** A label and its value; an empty label continues the line above. */
export type Row = readonly [label: string, value: string];

/** Rows with their values in one column, which is broken between words where the table would be wider than `columns`. */
export function table(
  rows: readonly Row[],
  paintLabel: (label: string) => string = (label) => label,
  columns = Number.POSITIVE_INFINITY,
): string {
  const under = `\n${' '.repeat(labelColumns + 1)}`;
  const valueOf = (value: string): string =>
    wrapped(value, columns - labelColumns - 1).replaceAll('\n', under);
  return rows
    .map(([label, value]) => `${paintLabel(label.padEnd(labelColumns))} ${valueOf(value)}\n`)
    .join('');
}

/** The beginning of a head: enough to compare by eye. */
export function shortHead(head: string): string {
  return `${head.slice(0, headCharacters)}…`;
}

/** Wall time in UTC, to the second. */
export function timeText(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}

/** The ids are what `password remove` takes. */
export function keySlotsText(slots: readonly KeySlot[]): string {
  const named = slots.map(({ id, label }) =>
    label === undefined ? id.toString() : `${id.toString()} (${printable(label)})`,
  );
  return `key ${slots.length === 1 ? 'slot' : 'slots'} ${named.join(', ')}`;
}
