// The words for what a reanchor accepts and gives up, and the question that it asks.
import { PersistenceError } from '../errors.js';
import type { Loss } from '../operations/loss.js';
import { ask } from './question.js';
import { grouped, timeText } from './report.js';
import { tell } from './terminal.js';

/** One line for what is accepted, one for what is given up. */
export function lossText({ generation, timeMs, commits, lastMs, witnesses }: Loss): string {
  const when = timeMs === undefined ? '' : ` of ${timeText(timeMs)}`;
  const accepted = `This accepts generation ${grouped(generation)}${when} as the newest state.`;
  if (commits === undefined)
    return `${accepted}\nIt gives up every later commit. How many there are is not known.`;
  if (commits === 0) return `${accepted}\nIt gives up no commit that a witness remembers.`;
  const count = commits === 1 ? '1 later commit' : `${grouped(commits)} later commits`;
  const last = lastMs === undefined ? '' : ` The last of them was at ${timeText(lastMs)} or later.`;
  return `${accepted}\nIt gives up ${count}, which the ${witnesses.join(' and the ')} ${witnesses.length === 1 ? 'remembers' : 'remember'}.${last}`;
}

/**
 * Lets the generation be typed.
 * @throws PersistenceError `aborted` for another one
 */
export async function confirmGeneration({ generation }: Loss): Promise<void> {
  const answer = await ask(`Type the generation (${generation}) to accept it: `);
  if (answer.trim().replaceAll(',', '') === generation.toString()) return;
  tell('Nothing was changed.');
  throw new PersistenceError('aborted', 'the generation was not confirmed');
}
