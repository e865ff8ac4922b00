// A question on the terminal whose answer is not shown. The terminal is read in raw mode, byte by byte into a buffer, so
// that no JavaScript string of the answer ever exists and the buffer can be wiped.
import { PersistenceError } from '../errors.js';

const bytesMax = 4096;

const key = {
  interrupt: 0x03,
  end: 0x04,
  backspace: 0x08,
  newline: 0x0a,
  enter: 0x0d,
  clear: 0x15,
  delete: 0x7f,
};

/** Whether a hidden question can be asked: standard input and standard error are a terminal. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/**
 * Asks on standard error and reads one line of at most 4,096 bytes from the terminal. Backspace removes a character,
 * Ctrl-U the line, Ctrl-D ends it, Ctrl-C ends the process by SIGINT. The caller wipes the answer.
 * @throws PersistenceError `aborted` at Ctrl-D on an empty line, or when the terminal goes away
 */
export async function askHidden(question: string): Promise<Buffer> {
  const { stdin, stderr } = process;
  const line = Buffer.alloc(bytesMax);
  let used = 0;
  // In this order, so that nothing typed in answer to the question is echoed.
  stdin.setRawMode(true);
  stderr.write(`${question}: `);
  try {
    for (;;) {
      const chunk = await nextChunk();
      for (const [at, byte] of chunk.entries()) {
        if (byte === key.enter || byte === key.newline || (byte === key.end && used > 0)) {
          // What was typed or pasted after the line is the answer to the next question.
          if (at + 1 < chunk.length) stdin.unshift(Buffer.from(chunk.subarray(at + 1)));
          chunk.fill(0);
          return Buffer.from(line.subarray(0, used));
        }
        if (byte === key.interrupt) interrupt();
        if (byte === key.interrupt || byte === key.end) throw aborted();
        if (byte === key.backspace || byte === key.delete) used = startOfLast(line, used);
        else if (byte === key.clear) used = 0;
        else if (byte >= 0x20 && used < bytesMax) line[used++] = byte;
      }
      chunk.fill(0);
    }
  } finally {
    line.fill(0);
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** Where the last UTF-8 character of the line begins. */
function startOfLast(line: Buffer, used: number): number {
  let start = Math.max(used - 1, 0);
  while (start > 0 && ((line[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}

function nextChunk(): Promise<Buffer> {
  const { stdin } = process;
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      stdin.off('data', onData).off('end', onEnd).off('error', onEnd).pause();
      act();
    };
    const onData = (chunk: Buffer): void => settle(() => resolve(chunk));
    const onEnd = (): void => settle(() => reject(aborted()));
    stdin.on('data', onData).on('end', onEnd).on('error', onEnd).resume();
  });
}

function interrupt(): void {
  process.stdin.setRawMode(false);
  process.stderr.write('\n');
  process.kill(process.pid, 'SIGINT');
}

function aborted(): PersistenceError {
  return new PersistenceError('aborted', 'the question on the terminal was not answered');
}
