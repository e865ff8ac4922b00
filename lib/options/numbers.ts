// Numbers as the command line has them.
import { invalidOption } from './readers.js';

/** A whole number from 0 to 2^53 - 1, or from `min`. */
export function wholeNumberOf(option: string, text: string, min = 0): number {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(number) && number >= min) return number;
  throw invalidOption(`${option} takes a whole number of at least ${min}, not ${JSON.stringify(text)}`);
}
