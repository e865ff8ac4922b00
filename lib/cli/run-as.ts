// As whom a command runs. A store belongs to the user of its service. Root is told the command that runs as that user, since
// files that belonged to root would stop the service.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { wrongOption, type Failure } from './failure.js';

/** What id(1) prints; it asks every source of users that the system has. */
async function id(...args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('id', [...args]);
    return stdout.trim();
  } catch {
    return undefined;
  }
}

/** A word of a shell's command line. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The remedy for root on the store of another user, which is to run the same command as that user. */
export async function withRunAs(failure: Failure, args: readonly string[]): Promise<Failure> {
  const owner = /: belongs to user (\d+)/.exec(failure.message)?.[1];
  if (failure.reason !== 'unsafe-path' || owner === undefined || process.geteuid?.() !== 0) return failure;
  const name = (await id('-nu', owner)) ?? `#${owner}`;
  const command = ['runuser', '-u', name, '--', 'strongroom', ...args].map(quoted).join(' ');
  return {
    ...failure,
    remedy: `Run it as the user of the store: ${command}. Leave the owner of the files as it is, or the service does not start.`,
  };
}

/**
 * Becomes the user that is to own a new store, for the rest of this process.
 * @throws PersistenceError `invalid-option` where this process is not root's, or there is no such user
 */
export async function becomeOwner(user: string): Promise<void> {
  const { geteuid, setgid, setuid, setgroups } = process;
  if (geteuid?.() !== 0 || setgid === undefined || setuid === undefined || setgroups === undefined)
    throw wrongOption('--owner needs root; without it the store belongs to whom the command runs as');
  const [uid, gid, groups] = await Promise.all(['-u', '-g', '-G'].map((which) => id(which, '--', user)));
  if (uid === undefined || gid === undefined || groups === undefined)
    throw wrongOption(`--owner: there is no user ${JSON.stringify(user)}`);
  // Groups first: a user cannot give itself any.
  setgroups(groups.split(' ').map(Number));
  setgid(Number(gid));
  setuid(Number(uid));
}
