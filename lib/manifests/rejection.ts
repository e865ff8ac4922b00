// How one file fails: the parts of the loader throw a Rejection, the loader turns it into a RejectedManifest.
// Invariant: what reaches `detail` is printable and bounded, whatever a file or its name contains.
import type { ManifestRejectionReason } from './types.js';

const detailCharactersMax = 300;
const quotedCharactersMax = 80;

/** Thrown within the loader only; never reaches a caller. */
export class Rejection extends Error {
  readonly reason: ManifestRejectionReason;

  constructor(reason: ManifestRejectionReason, detail: string) {
    super(printable(detail));
    this.reason = reason;
  }
}

/** A string of the file for use in a message: quoted, escaped, cut. */
export function quoted(text: string): string {
  const cut = text.length > quotedCharactersMax ? `${text.slice(0, quotedCharactersMax)}...` : text;
  return JSON.stringify(cut);
}

/** Replaces what could forge a line of a log or turn its direction, and cuts to 300 characters. */
export function printable(text: string): string {
  return text.slice(0, detailCharactersMax).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}
