// The one privileged step of a restore: a fixed executable, without arguments, that tests the web server's configuration
// and reloads it.
import { isAbsolute } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { PersistenceError } from '../errors.js';
import { limitText } from '../base/units.js';

const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' };
const errorBytesMax = 4096;
const lineCharactersMax = 200;
const lastWordsMs = 200;
export const hookTimeLimitMs = 60_000;

/**
 * Runs the hook to its end, without a shell, without arguments and with a bare environment.
 * @throws PersistenceError `hook-not-found`, `hook-not-permitted`, `hook-failed` with its exit code or signal,
 * `hook-timeout` after it was killed with what it had started
 */
export async function runHook(path: string, timeLimitMs = hookTimeLimitMs): Promise<void> {
  if (!isAbsolute(path)) throw new PersistenceError('hook-not-found', `the hook ${path} is no absolute path`);
  // 4 ms that every process of this package would pay otherwise.
  const { spawn } = await import('node:child_process');
  const start = () =>
    spawn(path, [], {
      argv0: path,
      cwd: '/',
      env: environment,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  let child: ReturnType<typeof start>;
  try {
    child = start();
  } catch (error) {
    // Some failures, such as a path below a file, are thrown and not told by an event.
    throw asHookError(path, error);
  }
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < errorBytesMax) said += text;
  });
  const ended = new Promise<void>((resolve) => child.stderr.once('close', resolve));
  const clock = { late: false };
  const timer = setTimeout(() => {
    clock.late = true;
    // The group: what the hook started must not hold anything open.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, timeLimitMs);
  try {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (exitCode, exitSignal) => {
        resolve([exitCode, exitSignal]);
      });
    });
    if (clock.late)
      throw new PersistenceError(
        'hook-timeout',
        `the hook ${path} did not end within ${limitText(timeLimitMs)}`,
      );
    if (code === 0) return;
    // What it said last may still be on its way; what it left running may hold the pipe.
    await Promise.race([ended, delay(lastWordsMs)]);
    const end = code === null ? `was ended by ${String(signal)}` : `ended with exit code ${code}`;
    const [line = ''] = said.trim().split('\n', 1);
    const words = line === '' ? '' : `: ${line.slice(0, lineCharactersMax)}`;
    throw new PersistenceError('hook-failed', `the hook ${path} ${end}${words}`);
  } catch (error) {
    throw asHookError(path, error);
  } finally {
    clearTimeout(timer);
    child.stderr.destroy();
  }
}

function asHookError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof PersistenceError) return error;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new PersistenceError('hook-not-found', `the hook ${path} does not exist`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new PersistenceError('hook-not-permitted', `the hook ${path} may not be executed`, {
      cause: error,
    });
  }
  return new PersistenceError('hook-failed', `the hook ${path} cannot be started: ${String(error)}`, {
    cause: error,
  });
}
