// Numbers and durations of the command line.
import { wholeNumberOf } from '../options/numbers.js';
import { wrongOption } from './failure.js';

export { wholeNumberOf as wholeNumber };

const unitsMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
type Unit = keyof typeof unitsMs;

/** A whole number of any size and sign. Its range is the store's affair. */
export function bigWholeNumber(option: string, text: string): bigint {
  if (/^[+-]?\d{1,20}$/.test(text)) return BigInt(text.replace(/^\+/, ''));
  throw wrongOption(`${option} takes a whole number, not ${JSON.stringify(text)}`);
}

/** A duration such as `90`, `36h` or `1.5d`, in milliseconds; without a unit it is in `unit`. */
export function durationMs(option: string, text: string, unit: Unit): number {
  const match = /^(\d+(?:\.\d+)?)([smhd])?$/.exec(text);
  const ms =
    match === null ? NaN : Math.round(Number(match[1]) * unitsMs[(match[2] as Unit | undefined) ?? unit]);
  if (Number.isSafeInteger(ms)) return ms;
  throw wrongOption(`${option} takes a duration such as 90s, 15m, 36h or 7d, not ${JSON.stringify(text)}`);
}
