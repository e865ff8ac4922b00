// How a process that is about to be killed tells its parent something: all of it is in the pipe when the call returns.
import { writeSync } from 'node:fs';

/** Writes a line to the descriptor; a pipe that is full is waited for until the parent has read. */
export function tell(descriptor: number, line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(descriptor, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}
