// Text of unknown origin, for people to read.

/** Replaces what could move the cursor, forge a line or turn the direction of the text. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}
