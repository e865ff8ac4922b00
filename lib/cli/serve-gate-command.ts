// serve-gate: what an entrypoint is to start, as an exit code and one line of JSON.
import type { Command } from 'commander';

import { isPersistenceError, type PersistenceError } from '../errors.js';
import { serveGate, type Gate, type GateStart, type Pkcs11ProtectorOptions } from '../index.js';
import { absolutePath, addCommand, addHelpParagraph, type CommonOptions } from './command.js';
import { exitCodeOf, exitCodes, failureOf } from './failure.js';
import { wholeNumber } from './numbers.js';
import { pinVariable, takeVariable } from './secrets.js';
import { printable, tell, writeJson } from './terminal.js';
import { protectorOf } from '../protectors/registry.js';
import {
  addPinSources,
  addTokenOptions,
  headerOf,
  secretStoreOf,
  withProtector,
  type ProtectorFlags,
} from './protector-options.js';

interface GateCommandOptions extends CommonOptions, ProtectorFlags {
  readonly timeLimit?: string;
}

/** All was said; only the exit code is left. */
export class GateClosed extends Error {
  constructor(readonly exitCode: number) {
    super('the service is not to be started');
  }
}

export function addServeGateCommand(program: Command): void {
  const command = addCommand(
    program,
    'serve-gate',
    'For entrypoints: answer by the exit code and a line of JSON what to start. Changes nothing.',
    [
      'strongroom serve-gate DIR --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin.txt',
      'strongroom serve-gate DIR --pin-credential pin',
    ],
  )
    .argument('<dir>', 'the directory of the store')
    .option('--time-limit <ms>', 'limit the whole answer (default: 60000)');
  addHelpParagraph(
    addPinSources(addTokenOptions(command)),
    "Exit codes: 0 start the service, 5 start the wizard, 4 ask again later, 3 tampering or rollback (PERS_8003), 2 usage, 1 the operator must act. Stores that are not in a token have nothing to restore: the token's options are ignored there.",
  ).action(act);
}

async function act(directory: string, options: GateCommandOptions): Promise<void> {
  const path = absolutePath(directory);
  const limit = options.timeLimit;
  const given = {
    directory: path,
    ...(limit !== undefined && { timeLimitMs: wholeNumber('--time-limit', limit, 1) }),
    ...secretStoreOf(options, path),
  };
  let gate: Gate;
  try {
    const type = (await headerOf(path))?.protector;
    const kind = type && protectorOf(type);
    if (kind?.isInToken === true) {
      gate = await withProtector(kind, options, { asks: false }, (protector) =>
        serveGate({ ...given, protector: protector as Pkcs11ProtectorOptions }),
      );
    } else {
      takeVariable(pinVariable)?.fill(0);
      gate = await serveGate(given);
    }
  } catch (error) {
    const failure = failureOf(error);
    const exitCode = exitCodeOf(failure);
    if (!isPersistenceError(error) || exitCode === exitCodes.usage) throw error;
    // The PIN's file is not there yet, or the like.
    const start: GateStart = exitCode === exitCodes.unavailable ? 'wait' : 'none';
    await answer(start, error, {}, options);
    throw new GateClosed(exitCode);
  }
  const { start, state, scenario, path: page, cause, detection } = gate;
  const exitCode = exitCodeOfGate(gate);
  const { instance, storageId, token } = detection ?? {};
  await answer(start, cause, { state, scenario, path: page, instance, storageId, token }, options);
  // What hangs must not hold the process back.
  if (detection === undefined) process.exit(exitCode);
  if (exitCode !== exitCodes.ok) throw new GateClosed(exitCode);
}

/** Of the state, not of the cause: a lost key without a password slot is nothing for the wizard. */
function exitCodeOfGate({ start, cause }: Gate): number {
  switch (start) {
    case 'service':
      return exitCodes.ok;
    case 'wizard':
      return exitCodes.restoreRequired;
    case 'wait':
      return exitCodes.unavailable;
    case 'none':
      return cause?.code === 'PERS_8003' ? exitCodes.critical : exitCodes.other;
  }
}

const words: Readonly<Record<GateStart, string>> = {
  service: 'the service can start',
  wizard: 'the store must be restored first: start `strongroom wizard`',
  wait: 'ask again: this heals by itself',
  none: 'nothing can be started',
};

async function answer(
  start: GateStart,
  cause: PersistenceError | undefined,
  found: object,
  { json }: CommonOptions,
): Promise<void> {
  const { reason, message, remedy, retryable } = cause ?? {};
  const why = start === 'service' ? {} : { reason, message, remedy, retryable };
  await writeJson({ start, ...found, ...why });
  if (json === true || start === 'service') return;
  tell(`strongroom: ${words[start]}${message === undefined ? '' : ` (${printable(message)})`}`);
}
