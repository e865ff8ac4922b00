// The commands of `strongroom`, put together, and the one place where what they throw becomes an exit code.
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';

import { libraryVersion } from '../index.js';
import { addHelpParagraph } from './command.js';
import { addAuthorityCommands } from './authority-commands.js';
import { addDecommissionCommand } from './decommission-command.js';
import { exitCodeOf, exitCodes, failureOf, report, wrongArgument, wrongOption } from './failure.js';
import { readFile } from './files.js';
import { addHistoryCommands } from './history-commands.js';
import { addHsmCommands, SetUpFailure } from './hsm-command.js';
import { addInitCommand } from './init-command.js';
import { addKeyCommand } from './key-command.js';
import { exampleLines } from './lines.js';
import { addPasswordCommand } from './password-command.js';
import { addRelocateCommand } from './relocate-command.js';
import { refusalOfOldName } from './renamed.js';
import { addRestoreCommand } from './restore-command.js';
import { addRotateCommand } from './rotate-command.js';
import { addServeGateCommand, GateClosed } from './serve-gate-command.js';
import { withRunAs } from './run-as.js';
import { addStatusCommand, Refused } from './status-command.js';
import { answerIn, OutputClosed, takeNoticed, tellJson, writeData } from './terminal.js';
import { addTlsCommand } from './tls-command.js';
import { addPermitCommand } from './permit-command.js';
import { addVaultCommands } from './vault-commands.js';
import { addWizardCommand } from './wizard-command.js';

/** Runs one command line, without the names of Node and of the program. Resolves to the exit code; never rejects. */
export async function run(args: readonly string[]): Promise<number> {
  // A reader that goes away is met where the write is awaited.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  // A write beyond `ulimit -f` is to fail like one to a full disk, and not to end the process.
  process.on('SIGXFSZ', () => undefined);
  const format = asksForJson(args) ? 'json' : 'text';
  answerIn(format);
  try {
    if (args.length === 1 && /^(-V|--version)$/.test(args[0] ?? '')) await writeVersion();
    else await parse(args);
    // Of a command whose output is no document of its own.
    const left = takeNoticed();
    if (left.notices !== undefined) tellJson(left);
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof OutputClosed) return exitCodes.ok;
    if (error instanceof GateClosed) return error.exitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    // The help page that a missing command is answered with was written already.
    if (error instanceof CommanderError && error.code === 'commander.help') return exitCodes.usage;
    if (error instanceof SetUpFailure) {
      report(failureOf(error.failure), format);
      return error.exitCode;
    }
    const failure = failureOf(error instanceof CommanderError ? usageError(error, args) : error);
    if (!(error instanceof Refused) || format === 'json') report(await withRunAs(failure, args), format);
    return exitCodeOf(failure);
  }
}

/** Runs the command. A page of help is written like every other output, so that a failure is noticed. */
async function parse(args: readonly string[]): Promise<void> {
  let help = '';
  try {
    await createProgram(args[0], (text) => {
      help += text;
    }).parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError) || help === '') throw error;
    await writeData(help);
    throw error;
  }
  if (help !== '') await writeData(help);
}

/** Who adds a command, by its name. */
const commands = new Map<string, (program: Command) => void>(
  Object.entries({
    init: addInitCommand,
    status: addStatusCommand,
    get: addVaultCommands,
    set: addVaultCommands,
    delete: addVaultCommands,
    increment: addVaultCommands,
    list: addVaultCommands,
    verify: addHistoryCommands,
    log: addHistoryCommands,
    acknowledge: addHistoryCommands,
    reanchor: addAuthorityCommands,
    recover: addAuthorityCommands,
    reseal: addAuthorityCommands,
    decommission: addDecommissionCommand,
    relocate: addRelocateCommand,
    password: addPasswordCommand,
    key: addKeyCommand,
    tls: addTlsCommand,
    restore: addRestoreCommand,
    'serve-gate': addServeGateCommand,
    wizard: addWizardCommand,
    hsm: addHsmCommands,
    rotate: addRotateCommand,
    permit: addPermitCommand,
  }),
);

/**
 * All commands; of a command line that begins with the name of one, those that are added with it, since to describe the
 * others takes as long as to run one.
 */
export function createProgram(first?: string, writeOut?: (text: string) => void): Command {
  const program = new Command('strongroom')
    .description('Sealed, tamper-evident, rollback-detecting persistence.')
    .helpCommand('help [command]', 'show the help of a command')
    .helpOption('-h, --help', 'show this help')
    .option('-V, --version', 'show the version, and the library that encrypts')
    .configureHelp({ sortOptions: false, showGlobalOptions: false, minWidthToWrap: 20 })
    // Errors are reported by run(), so that they can be JSON too.
    .configureOutput({ outputError: () => undefined, ...(writeOut !== undefined && { writeOut }) })
    .showSuggestionAfterError(true)
    .exitOverride();
  const named = first === undefined ? undefined : commands.get(first);
  const adds = named === undefined ? new Set(commands.values()) : [named];
  for (const add of adds) add(program);
  addHelpParagraph(
    program,
    'Exit codes: 0 ok, 1 other, 2 usage, 3 tampering or rollback (PERS_8003), 4 retryable or unavailable, 5 restore required, 6 the output cannot be written.',
  );
  const examples = [
    'strongroom init /var/lib/acme/persistence --secret-store file:/var/lib/acme/secrets --instance acme',
    'strongroom init /var/lib/acme/persistence --protector tpm --instance acme',
    'strongroom status /var/lib/acme/persistence',
    'strongroom help set',
  ];
  program.addHelpText('after', ['', 'Examples:', ...examples.map(exampleLines)].join('\n'));
  return program;
}

async function writeVersion(): Promise<void> {
  const file = await readFile(fileURLToPath(new URL('../../package.json', import.meta.url)), 64 * 1024);
  const { version } = JSON.parse(file.toString('utf8')) as { version: string };
  await writeData(`strongroom ${version}, ${libraryVersion()}\n`);
}

function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end === -1 ? args.length : end).includes('--json');
}

function usageError({ code, message }: CommanderError, args: readonly string[]): Error {
  const text = message.replace(/^error: /, '').replace(/\n\(Did you mean (.*)\?\)/s, '; did you mean $1?');
  const told = refusalOfOldName(text, commandOf(args)) ?? text;
  return code.toLowerCase().includes('option') ? wrongOption(told) : wrongArgument(told);
}

/** The command that the first words call, or the program. */
function commandOf(args: readonly string[]): Command {
  let command = createProgram(args[0]);
  for (const word of args) {
    const next = command.commands.find((each) => each.name() === word);
    if (next === undefined) break;
    command = next;
  }
  return command;
}
