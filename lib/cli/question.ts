// A question on the terminal whose answer may be seen. Answers that may not: hidden-prompt.ts.
import { wrongOption } from './failure.js';
import { canAsk } from './hidden-prompt.js';

/** @throws PersistenceError `invalid-option`, which says what to give instead, where there is no terminal to ask on */
export function needTerminal(what: string): void {
  if (!canAsk()) throw wrongOption(`without a terminal to ask on, ${what}`);
}

export async function ask(question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  const questions = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await questions.question(question);
  } finally {
    questions.close();
  }
}
