// The process behind Holder (holding.ts): opens a store for writing, says so, and does what the lines on its input ask.
// Each line has one answer, a line of JSON: null, or the reason of an error.
import { createInterface } from 'node:readline';

import { isPersistenceError } from '../../lib/errors.js';
import { open, type OpenOptions, type Persistence } from '../../lib/index.js';

async function answerOf(work: () => Promise<unknown>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (isPersistenceError(error)) return error.reason;
    throw error;
  }
}

let store: Persistence | undefined;
const tasks: Record<string, (key: string) => Promise<unknown>> = {
  set: (key) => store!.vault.set(key, Buffer.from(key)),
  anchor: () => store!.anchor(),
  close: () => store!.close(),
};

const tell = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
tell(
  await answerOf(async () => {
    store = await open(JSON.parse(process.argv[2]!) as OpenOptions);
  }),
);
for await (const line of createInterface({ input: process.stdin })) {
  const [task = '', key = ''] = line.split(' ');
  tell(await answerOf(() => tasks[task]!(key)));
}
