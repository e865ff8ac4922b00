// Recovery keys: a backup password that is generated. 160 random bits as 8 groups of 4 characters, in an alphabet without I, L,
// O and U, which are taken for other characters or make words. No JavaScript string of a key ever exists.
import { randomFillSync } from 'node:crypto';

import { PersistenceError } from '../errors.js';
import { askHidden, canAsk } from './hidden-prompt.js';
import { ask } from './secrets.js';
import { tell } from './terminal.js';

const alphabet = Buffer.from('0123456789ABCDEFGHJKMNPQRSTVWXYZ');
const groups = 8;
const groupCharacters = 4;
const keyCharacters = groups * (groupCharacters + 1) - 1;
const triesMax = 3;
const hyphen = 0x2d;
const newline = Buffer.from('\n');

/** A new key, such as `7Q2M-0XKD-…`; the caller wipes it. */
export function makeRecoveryKey(): Buffer {
  const random = randomFillSync(Buffer.alloc(groups * groupCharacters));
  const key = Buffer.alloc(keyCharacters, hyphen);
  // 256 is a multiple of 32, so that every character is as likely.
  for (const [at, byte] of random.entries())
    key[at + Math.floor(at / groupCharacters)] = alphabet[byte % alphabet.length] ?? 0;
  random.fill(0);
  return key;
}

/**
 * Asks for a new backup password on the terminal; an empty answer generates a recovery key.
 * @returns undefined where there is no terminal; the caller wipes it
 */
export async function askNewPassword(name = 'backup password'): Promise<Buffer | undefined> {
  if (!canAsk()) return undefined;
  const given = await ask({ name, hint: 'empty: generate a recovery key', ask: 'twice' });
  return given ?? generate();
}

/** Shows a new key once, and lets its last group be typed back as a proof that it was written down. */
async function generate(): Promise<Buffer> {
  const key = makeRecoveryKey();
  try {
    tell(
      '\nThe recovery key. It is the backup password of this store, and is not shown again. Write it down:\n',
    );
    process.stderr.write(Buffer.from('  '));
    process.stderr.write(key);
    process.stderr.write(newline);
    tell('\nIt counts as it is shown, with its hyphens.');
    for (let tries = 1; ; tries++) {
      const answer = await askHidden('Its last group, to confirm');
      const same = isLastGroup(answer, key);
      answer.fill(0);
      if (same) return key;
      if (tries === triesMax)
        throw new PersistenceError('aborted', 'the last group of the recovery key was not typed back');
      tell('That is not its last group.');
    }
  } catch (error) {
    key.fill(0);
    throw error;
  }
}

function isLastGroup(answer: Buffer, key: Buffer): boolean {
  for (const [at, byte] of answer.entries()) if (byte >= 0x61 && byte <= 0x7a) answer[at] = byte - 0x20;
  return answer.equals(key.subarray(-groupCharacters));
}
