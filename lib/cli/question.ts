// A question on the terminal whose answer may be seen. Answers that may not: hidden-prompt.ts.
import { PersistenceError } from '../errors.js';
import { wrongOption } from './failure.js';
import { canAsk } from './hidden-prompt.js';

/** @throws PersistenceError `invalid-option`, which says what to give instead, where there is no terminal to ask on */
export function needTerminal(what: string): void {
  if (!canAsk()) throw wrongOption(`without a terminal to ask on, ${what}`);
}

/**
 * Asks on standard error and reads one line from the terminal. Ctrl-C ends the process by SIGINT.
 * @throws PersistenceError `aborted` at Ctrl-D, or when the terminal goes away
 */
export async function ask(question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  const questions = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new AbortController();
  questions.once('close', () => ended.abort());
  questions.once('SIGINT', () => {
    questions.close();
    process.stderr.write('\n');
    process.kill(process.pid, 'SIGINT');
  });
  try {
    return await questions.question(question, { signal: ended.signal });
  } catch {
    throw new PersistenceError('aborted', 'the question on the terminal was not answered');
  } finally {
    questions.close();
  }
}
