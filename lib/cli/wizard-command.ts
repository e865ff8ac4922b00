// wizard: serves the restore page of a store, until the store is restored or its token answers again.
import type { Command } from 'commander';

import type { WizardEvent, WizardOptions } from '../wizard/index.js';
import { addHelpParagraph, absolutePath, addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { wholeNumber } from './numbers.js';
import { readPermit } from './password-options.js';
import { credentialFile, findPassword } from './secrets.js';
import {
  addPinSources,
  addRoleOptions,
  addTokenOptions,
  secretStoreOf,
  type ProtectorFlags,
} from './protector-options.js';
import { requireToken, withToken } from './token.js';
import { OutputClosed, OutputFailed, painter, printable, tell, writeJson, writeMessage } from './terminal.js';

interface WizardCommandOptions extends CommonOptions, ProtectorFlags {
  readonly listen: string;
  readonly name?: readonly string[];
  readonly tlsDir?: string;
  readonly onRestored?: string;
  readonly hookTimeLimit?: string;
  readonly soPinFile?: string;
  readonly soPinFd?: string;
  readonly soPinCredential?: string;
  readonly permitFile?: string;
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
    .option('--permit-file <file>', "read the vendor's permit from a file, where the store has a vendor");
  addPinSources(addRoleOptions(addTokenOptions(command), 'restore')).action(wizard);
  addHelpParagraph(
    command,
    'The address of the page, the fingerprint of its temporary certificate and the one-time code are printed on standard error. With --json each event is a line of JSON on standard output. SIGHUP ends the session and makes another code.',
  );
  addHelpParagraph(
    command,
    'Exit codes: 0 restored, or the token opens the store again; 1 nothing to restore (nothing-to-do); others as for every command.',
  );
}

async function wizard(directory: string, options: WizardCommandOptions): Promise<void> {
  const path = absolutePath(directory);
  const where = readListen(options.listen);
  const kind = await requireToken(path);
  const { tlsDir, onRestored, hookTimeLimit, name: names, permitFile } = options;
  const permit = permitFile === undefined ? undefined : await readPermit(permitFile);
  const soPin = await findPassword({
    name: 'PIN of the security officer',
    file: credentialFile('--so-pin-file', options.soPinFile, '--so-pin-credential', options.soPinCredential),
    fd: options.soPinFd,
    fileOption: '--so-pin-file',
    fdOption: '--so-pin-fd',
    ask: 'no',
  });
  try {
    await withToken(kind, options, async (place) => {
      await serve(where, options, {
        directory: path,
        protector: place,
        ...secretStoreOf(options, path),
        ...(names !== undefined && { names }),
        ...(tlsDir !== undefined && { tls: { directory: absolutePath(tlsDir) } }),
        ...(onRestored !== undefined && { hook: absolutePath(onRestored) }),
        ...(hookTimeLimit !== undefined && {
          hookTimeLimitMs: wholeNumber('--hook-time-limit', hookTimeLimit, 1),
        }),
        ...(soPin !== undefined && { soPin }),
        ...(permit !== undefined && { permit }),
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
  const show = json === true ? showJson() : showText();
  // Only here: no other command loads the web server.
  const { createWizard } = await import('../wizard/index.js');
  const served = await createWizard({ ...options, onEvent: show.event });
  const renew = (): void => {
    served.renewCode();
  };
  process.on('SIGHUP', renew);
  try {
    await served.listen(where);
    await Promise.race([served.finished, show.codeLost]);
  } finally {
    process.off('SIGHUP', renew);
    await served.close();
    await show.done();
  }
}

interface Shown {
  readonly event: (event: WizardEvent) => void;
  readonly done: () => Promise<void>;
  /** Rejects when the one-time code cannot be written: nobody could get in. Never resolves. */
  readonly codeLost: Promise<never>;
}

/** Events one after the other, as fast as they are taken. Only a lost code matters: no restore ends for want of output. */
function shownBy(show: (event: WizardEvent) => Promise<void>): Shown {
  let written: Promise<void> = Promise.resolve();
  let lose: (error: unknown) => void = () => undefined;
  const codeLost = new Promise<never>((_resolve, reject) => {
    lose = reject;
  });
  codeLost.catch(() => undefined);
  return {
    event: (event) => {
      written = written
        .then(() => show(event))
        .catch((error: unknown) => {
          if (event.event !== 'code') return;
          lose(error instanceof OutputClosed ? new OutputFailed('the one-time code', error) : error);
        });
    },
    done: () => written,
    codeLost,
  };
}

const showJson = (): Shown => shownBy((event) => writeJson(event));

const showText = (): Shown =>
  shownBy((event) => {
    if (event.event === 'code') return writeMessage(codeLine(event.code));
    showEvent(event);
    return Promise.resolve();
  });

function codeLine(code: string): string {
  const paint = painter(process.stderr);
  return `${paint('dim', 'code'.padEnd(12))}${paint('bold', code)}`;
}

function showEvent(event: Exclude<WizardEvent, { event: 'code' }>): void {
  const paint = painter(process.stderr);
  const line = (name: string, text: string): void => {
    tell(`${paint('dim', name.padEnd(12))}${printable(text)}`);
  };
  switch (event.event) {
    case 'listening':
      line('page', event.url);
      line('certificate', `SHA-256 ${event.fingerprint}`);
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
