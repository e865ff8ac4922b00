// Key protector `external` with systemd-creds(1): the root key is a credential that this machine encrypts, by a key of the
// host, a TPM, or both. It needs the right to read the host's key, which root has.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';

import { KeyServiceError, type ExternalProtectorOptions } from 'strongroom';

/** By its standard input and output, so that no key is in a file or among the arguments. */
async function run(words: readonly string[], input: Uint8Array): Promise<Buffer> {
  const child = spawn('systemd-creds', [...words, '-', '-'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  let complaint = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  child.stdin.on('error', () => undefined); // it ended before it had read all
  child.stdin.end(input);
  // Where there is no systemd-creds this throws, which is an outage.
  const [status] = (await once(child, 'close')) as [number | null];
  if (status === 0) return Buffer.concat(out);
  // A credential of another machine or name, or one that was changed.
  const isRefusal = /bad message|not match|fail.*decrypt|wrong name|integrity/i.test(complaint);
  throw new KeyServiceError(
    isRefusal ? 'refused' : 'unreachable',
    `systemd-creds ended with ${String(status)}`,
  );
}

/** A credential has a name, which is authenticated with it. */
function nameOf(context: Uint8Array): string {
  return `--name=strongroom-${createHash('sha256').update(context).digest('hex')}`;
}

/** @param withKey - what encrypts it: `host`, `tpm2` or `host+tpm2` */
export function systemdCreds(withKey = 'host'): ExternalProtectorOptions {
  return {
    type: 'external',
    wrap: (key, context) => run(['encrypt', `--with-key=${withKey}`, nameOf(context)], key),
    unwrap: (wrapped, context) => run(['decrypt', nameOf(context)], wrapped),
  };
}
