// wizard: serves the restore page of a store, until the store is restored or its token answers again.
import type { Command } from 'commander';

import { PersistenceError } from '../errors.js';
import type { WizardEvent, WizardOptions } from '../wizard/index.js';
import { absolutePath, addCommand, readSecretStorePlace, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import {
  addAnotherToken,
  addHsmOptions,
  addPinSources,
  credentialFile,
  withToken,
  type HsmOptions,
} from './hsm-options.js';
import { wholeNumber } from './numbers.js';
import { readToken } from './password-options.js';
import { findPassword } from './secrets.js';
import { requireStore } from './store.js';
import { painter, printable, tell, writeJson } from './terminal.js';

interface WizardCommandOptions extends CommonOptions, HsmOptions {
  readonly listen: string;
  readonly name?: readonly string[];
  readonly secretStore?: string;
  readonly tlsDir?: string;
  readonly onRestored?: string;
  readonly hookTimeLimit?: string;
  readonly soPinFile?: string;
  readonly soPinFd?: string;
  readonly soPinCredential?: string;
  readonly tokenFile?: string;
}

export function addWizardCommand(program: Command): void {
  const command = addCommand(
    program,
    'wizard',
    'Serve the restore page of a store over TLS, until it is restored or its token answers again.',
    [
      'strongroom wizard DIR --listen 127.0.0.1:8443 --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin.txt',
      'strongroom wizard DIR --module M --pin-file pin.txt --tls-dir /etc/acme/tls --on-restored /usr/libexec/acme-reload',
    ],
  )
    .argument('<dir>', 'the directory of the store')
    .option('--listen <address:port>', 'where the page is served; port 0: any that is free', '127.0.0.1:8443')
    .option(
      '--name <host>',
      'add a host name that the page is reached by; the first is in the logged address; may be repeated',
      (name: string, before: readonly string[] | undefined) => [...(before ?? []), name],
    )
    .option(
      '--secret-store <place>',
      'in place of the one that persistence.bin names: file:PATH or secret-service',
    )
    .option('--tls-dir <dir>', "write the web server's key, certificate and chain here")
    .option(
      '--on-restored <file>',
      'then run this executable, without arguments, which tests and reloads the web server',
    )
    .option('--hook-time-limit <ms>', 'for that executable (default: 60000)')
    .option(
      '--so-pin-file <file>',
      "read the security officer's PIN for a new token from a file, in place of asking for it on the page",
    )
    .option('--so-pin-fd <n>', 'read it from an open descriptor')
    .option('--so-pin-credential <name>', 'read it from this file in $CREDENTIALS_DIRECTORY')
    .option('--token-file <file>', "read the vendor's token from a file, where the store has a vendor")
    .addHelpText(
      'after',
      `
The address of the page, the fingerprint of its temporary certificate and the one-time code are told on standard error;
with --json each event is a line of JSON on standard output. SIGHUP ends the session and tells another code.

Exit codes: 0 restored, or the token opens the store again; 1 there is nothing to restore (nothing-to-do); others as for
every command.`,
    );
  addPinSources(addAnotherToken(addHsmOptions(command))).action(wizard);
}

async function wizard(directory: string, options: WizardCommandOptions): Promise<void> {
  const path = absolutePath(directory);
  const where = readListen(options.listen);
  const { storage } = await requireStore(path);
  if (storage !== 'pkcs11') {
    throw new PersistenceError('nothing-to-do', `storage '${storage}' has no token that could be lost`);
  }
  const { tlsDir, onRestored, hookTimeLimit, name: names, tokenFile } = options;
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile);
  const soPin = await findPassword({
    name: 'PIN of the security officer',
    file: credentialFile('--so-pin-file', options.soPinFile, '--so-pin-credential', options.soPinCredential),
    fd: options.soPinFd,
    fileOption: '--so-pin-file',
    fdOption: '--so-pin-fd',
    ask: 'no',
  });
  try {
    await withToken(options, async (place) => {
      await serve(where, options, {
        directory: path,
        storage: place,
        ...(options.secretStore !== undefined && {
          secretStore: readSecretStorePlace(options.secretStore, path),
        }),
        ...(names !== undefined && { names }),
        ...(tlsDir !== undefined && { tls: { directory: absolutePath(tlsDir) } }),
        ...(onRestored !== undefined && { hook: absolutePath(onRestored) }),
        ...(hookTimeLimit !== undefined && {
          hookTimeLimitMs: wholeNumber('--hook-time-limit', hookTimeLimit, 1),
        }),
        ...(soPin !== undefined && { soPin }),
        ...(token !== undefined && { token }),
      });
    });
  } finally {
    soPin?.fill(0);
  }
}

async function serve(
  where: { readonly host: string; readonly port: number },
  { json }: CommonOptions,
  options: WizardOptions,
): Promise<void> {
  const show = json === true ? showJson() : { event: showEvent, done: () => Promise.resolve() };
  // Only here: no other command loads the web server.
  const { createWizard } = await import('../wizard/index.js');
  const served = await createWizard({ ...options, onEvent: show.event });
  const renew = (): void => {
    served.renewCode();
  };
  process.on('SIGHUP', renew);
  try {
    await served.listen(where);
    await served.finished;
  } finally {
    process.off('SIGHUP', renew);
    await served.close();
    await show.done();
  }
}

/** Lines of JSON, one after the other, as fast as they are taken. */
function showJson(): { readonly event: (event: WizardEvent) => void; readonly done: () => Promise<void> } {
  let written: Promise<void> = Promise.resolve();
  return {
    event: (event) => {
      // A reader that went away must not end a restore.
      written = written.then(() => writeJson(event)).catch(() => undefined);
    },
    done: () => written,
  };
}

function showEvent(event: WizardEvent): void {
  const paint = painter(process.stderr);
  const line = (name: string, text: string): void => {
    tell(`${paint('dim', name.padEnd(12))}${printable(text)}`);
  };
  switch (event.event) {
    case 'listening':
      line('page', event.url);
      line('certificate', `SHA-256 ${event.fingerprint}`);
      return;
    case 'code':
      tell(`${paint('dim', 'code'.padEnd(12))}${paint('bold', event.code)}`);
      return;
    case 'code-refused':
      line('refused', `a wrong code from ${event.address}`);
      return;
    case 'session':
      line('session', `the code was used from ${event.address}`);
      return;
    case 'state':
      line('state', event.message === undefined ? event.state : `${event.state}: ${event.message}`);
      return;
    case 'step':
      if (event.state !== 'begun') line('step', `${event.step} ${event.state}`);
      return;
    case 'token':
      line('token', `'${event.label}' was set up in slot ${event.slotId}, serial number ${event.serial}`);
      return;
    case 'failed':
      line('failed', `${event.message} [${event.reason}]`);
      return;
    case 'finished':
      line('finished', event.outcome);
  }
}

function readListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.%]+)\]|([^[\]:]+)):(\d{1,5})$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw wrongOption('--listen takes ADDRESS:PORT, such as 127.0.0.1:8443 or [::1]:8443');
}
