// Key protector `external` with systemd-creds(1): the root key is a credential that this machine encrypts, by a key of the
// host, a TPM, or both. It needs the right to read the host's key, which root has.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';

import { KeyServiceError, type ExternalProtectorOptions } from 'strongroom';

/** Texts of systemd 252. Another release may say the same in other words, and then it is an outage: nothing is lost. */
const refusals = [
  /^Embedded credential name '.*' does not match filename '.*', refusing\.$/m,
  /^Decryption failed \(incorrect key\?\)/m,
  /^Unknown encryption format, or corrupted data/m,
  /^Failed to determine local credential key: (No such file or directory|Permission denied)$/m,
];

/** By its standard input and output, so that no key is in a file or among the arguments. */
async function run(words: readonly string[], input: Uint8Array, timeoutMs: number): Promise<Buffer> {
  const child = spawn('systemd-creds', [...words, '-', '-'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const out: Buffer[] = [];
  let complaint = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  child.stdin.on('error', () => undefined); // it ended before it had read all
  child.stdin.end(input);
  // Where there is no systemd-creds this throws, which is an outage.
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  const answer = Buffer.concat(out);
  for (const chunk of out) chunk.fill(0);
  if (status === 0) return answer;
  throw new KeyServiceError(
    refusals.some((text) => text.test(complaint)) ? 'refused' : 'unreachable',
    `systemd-creds ended with ${status ?? String(signal)}`,
  );
}

/** A credential has a name, which is authenticated with it. */
function nameOf(context: Uint8Array): string {
  return `--name=strongroom-${createHash('sha256').update(context).digest('hex')}`;
}

/**
 * @param withKey - what encrypts it: `host`, `tpm2` or `host+tpm2`
 * @param timeoutMs - of each call
 */
export function systemdCreds(withKey = 'host', timeoutMs = 10_000): ExternalProtectorOptions {
  return {
    type: 'external',
    wrap: (key, context) => run(['encrypt', `--with-key=${withKey}`, nameOf(context)], key, timeoutMs),
    unwrap: (wrapped, context) => run(['decrypt', nameOf(context)], wrapped, timeoutMs),
    timeoutMs,
  };
}
