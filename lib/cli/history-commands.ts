// verify, log and acknowledge: the history, read again, and what the starts found.
import type { Command } from 'commander';

import type { AuditEntry, VerifyReport } from '../index.js';
import { addCommand, type CommonOptions } from './command.js';
import { wholeNumber } from './numbers.js';
import { ProgressBar } from './progress.js';
import { grouped, shortHead, table, timeText } from './report.js';
import { addLockOptions, withStore, withStoreForReading } from './store.js';
import { addProtectorOptions, type ProtectorFlags } from './protector-options.js';
import { tell, toJson, writeData, writeJson } from './terminal.js';

export function addHistoryCommands(program: Command): void {
  addProtectorOptions(
    addCommand(
      program,
      'verify',
      'Read and authenticate the whole history, the audit log and the witnesses.',
      ['strongroom verify DIR'],
    ),
  )
    .argument('<dir>', 'the directory of the store')
    .action(verify);

  addProtectorOptions(
    addCommand(program, 'log', 'Show the audit log, oldest entry first.', ['strongroom log DIR --limit 20']),
  )
    .argument('<dir>', 'the directory of the store')
    .option('--limit <n>', 'show the newest n entries only')
    .action(log);

  addLockOptions(
    addProtectorOptions(
      addCommand(
        program,
        'acknowledge',
        'Forget the notices that status shows: what the last starts found and repaired.',
        ['strongroom acknowledge DIR'],
      ),
    ),
  )
    .argument('<dir>', 'the directory of the store')
    .action(acknowledge);
}

async function acknowledge(directory: string, options: CommonOptions & ProtectorFlags): Promise<void> {
  const count = await withStore(directory, options, async (persistence) => {
    const { notices } = persistence.status();
    await persistence.acknowledgeNotices();
    return notices.length;
  });
  if (options.json === true) await writeJson({ acknowledged: count });
  else tell(count === 1 ? 'Acknowledged 1 notice.' : `Acknowledged ${grouped(count)} notices.`);
}

async function verify(directory: string, options: CommonOptions & ProtectorFlags): Promise<void> {
  const reading = new ProgressBar('reading  ');
  let verifying: ProgressBar | undefined;
  let report: VerifyReport;
  try {
    report = await withStoreForReading(
      directory,
      options,
      (persistence) => {
        reading.finish();
        verifying = new ProgressBar('verifying');
        return persistence.verify({ onProgress: verifying.update });
      },
      reading.update,
    );
  } finally {
    reading.finish();
    verifying?.finish();
  }
  if (options.json === true) await writeJson({ verdict: 'ok', ...report });
  else await writeData(reportText(report));
}

function reportText({ snapshot, newest, commits, records, auditEntries, witnesses }: VerifyReport): string {
  return table([
    ['verdict', 'ok'],
    [
      'history',
      `generation ${grouped(snapshot.generation)} to ${grouped(newest.generation)}, ${grouped(commits)} commits`,
    ],
    ['head', shortHead(newest.head)],
    ['records', grouped(records)],
    ['audit log', `${grouped(auditEntries)} entries`],
    ...witnesses.map(({ name, generation }) => [name, `generation ${grouped(generation)}`] as const),
  ]);
}

async function log(
  directory: string,
  options: CommonOptions & ProtectorFlags & { limit?: string },
): Promise<void> {
  const limit = options.limit === undefined ? undefined : wholeNumber('--limit', options.limit);
  const entries = await withStoreForReading(directory, options, (persistence) => persistence.auditLog(limit));
  const lines = options.json === true ? entries.map(toJson) : entries.map(lineOf);
  if (lines.length > 0) await writeData(`${lines.join('\n')}\n`);
}

function lineOf({ generation, timeMs, operation, operations, head }: AuditEntry): string {
  const columns = [
    generation.toString().padStart(10),
    timeText(timeMs),
    operation.padEnd(17),
    `${operations} ${operations === 1 ? 'record ' : 'records'}`.padStart(14),
    shortHead(head),
  ];
  return columns.join('  ');
}
