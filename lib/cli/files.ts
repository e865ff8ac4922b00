// Files and descriptors that the caller names, read by the core like every other file.
import { PersistenceError } from '../errors.js';
import { loadNative } from '../native.js';
import { fromNative } from '../native/errors.js';

/**
 * A whole file of at most `bytesMax` bytes. Links are followed. What they lead to is a plain file that not every user can
 * write, or the pipe of a shell's `<(...)`.
 * @throws PersistenceError `not-found`, `permission-denied`, `unsafe-path`, `value-too-large`, `io-error`
 */
export function readFile(path: string, bytesMax: number): Promise<Buffer> {
  if (path === '' || path.includes('\0')) {
    throw new PersistenceError('invalid-option', 'the path of a file is empty or holds a NUL');
  }
  // Outside, so that a core that cannot be loaded is told as such.
  const native = loadNative();
  return fromNative(() => native.readFile(path, bytesMax));
}

/**
 * A descriptor that came with the process, such as `3<file` or `3< <(command)` in a shell, read to its end.
 * @throws PersistenceError `not-found` when it is not open, `value-too-large`, `io-error`
 */
export function readDescriptor(fd: number, bytesMax: number): Promise<Buffer> {
  const native = loadNative();
  return fromNative(() => native.readDescriptor(fd, bytesMax));
}

/** Standard input to its end. Not by Node's stream, which is empty for what it does not know, such as a directory. */
export function readStandardInput(bytesMax: number): Promise<Buffer> {
  return readDescriptor(0, bytesMax);
}
