// status: who the store is, what a start would say now, and how far each witness lags. Works on a refused store too.
import type { Command } from 'commander';

import type { PersistenceError } from '../errors.js';
import {
  inspect,
  open,
  type Inspection,
  type KeySlot,
  type PersistenceStatus,
  type WitnessStatus,
} from '../index.js';
import { lossOf } from '../operations/loss.js';
import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { exitCodeOf, exitCodes, failureOf, type Failure } from './failure.js';
import { columnsOf, wrapped } from './lines.js';
import {
  durationText,
  grouped,
  keySlotsText,
  limitText,
  shortHead,
  sizeText,
  table,
  timeText,
  type Row,
} from './report.js';
import { workAndClose, isAbsence, requireStore } from './store.js';
import { painter, printable, writeData, writeJson } from './terminal.js';
import { passwordSlots, protectorOf } from '../protectors/registry.js';
import {
  addProtectorOptions,
  withPlaces,
  type PlacesGiven,
  type ProtectorFlags,
} from './protector-options.js';

/** A refusal that the report on standard output has told already; only `--json` says it again on standard error. */
export class Refused extends Error {}

export function addStatusCommand(program: Command): void {
  addProtectorOptions(
    addCommand(
      program,
      'status',
      'Show the identity of a store, the verdict of a start, and the lag of its witnesses.',
      ['strongroom status DIR', 'strongroom status DIR --json > status.json'],
    ),
  )
    .argument('<dir>', 'the directory of the store')
    .action(status);
}

async function status(directory: string, options: CommonOptions & ProtectorFlags): Promise<void> {
  const path = absolutePath(directory);
  // Without its PIN a store is shown as far as it can be.
  const [inspection, lagSeconds] = await withPlaces(
    path,
    options,
    async (places) => {
      const seen = await look(path, places);
      return [seen, await lagOf(path, seen, places)] as const;
    },
    { isRequired: false },
  );
  if (options.json === true) await writeJson(reportOf(inspection, lagSeconds));
  else await writeData(textOf(path, inspection, lagSeconds));
  if (inspection.error !== undefined) throw asRefused(inspection.error);
}

function asRefused(error: PersistenceError): Refused {
  const { code, reason, message, retryable, remedy } = error;
  return Object.assign(new Refused(message), { code, reason, retryable, remedy });
}

/** Inspects; where persistence.bin is missing the error is what a start would say. */
export async function look(path: string, places: PlacesGiven): Promise<Inspection> {
  try {
    return await inspect(path, places);
  } catch (error) {
    if (isAbsence(error)) await requireStore(path);
    throw error;
  }
}

/** By witness: how long ago the first commit was that it has not seen. */
type Lag = ReadonlyMap<string, number>;

async function lagOf(path: string, { verdict, status }: Inspection, places: PlacesGiven): Promise<Lag> {
  const lag = new Map<string, number>();
  if (status === undefined) return lag;
  for (const { name, lagGenerations } of status.witnesses) if (lagGenerations === 0) lag.set(name, 0);
  if (verdict !== 'ok' || lag.size === status.witnesses.length) return lag;
  const log = await workAndClose(await open({ directory: path, ...places, readOnly: true }), (persistence) =>
    persistence.auditLog(),
  );
  for (const { name, generation } of status.witnesses) {
    const unseen = log.find((entry) => entry.generation === generation + 1);
    if (unseen !== undefined && !lag.has(name)) lag.set(name, Math.max(0, Date.now() - unseen.timeMs) / 1000);
  }
  return lag;
}

type State = 'ready' | 'refused' | 'restore-required' | 'provisioning' | 'decommissioning';

function stateOf(inspection: Inspection): State {
  const { provision, verdict } = inspection;
  if (provision !== 'complete') return provision;
  if (verdict === 'ok') return 'ready';
  return exitCodeOf(failureOf(inspection.error)) === exitCodes.restoreRequired
    ? 'restore-required'
    : 'refused';
}

function reportOf(inspection: Inspection, lagSeconds: Lag): object {
  const { verdict, error, instance, storageId, keySlots, recoverable, protector, tpm, token } = inspection;
  const { secretStore, files, status } = inspection;
  const failure: Failure | undefined = error === undefined ? undefined : failureOf(error);
  return {
    state: stateOf(inspection),
    verdict,
    error: failure,
    instance,
    storageId,
    keySlots,
    passwordSlot: recoverable,
    recoverable,
    protector,
    tpm,
    token,
    secretStore,
    files,
    ...(status !== undefined && documentOf(status, lagSeconds)),
    ...(verdict !== 'ok' && status !== undefined && { window: undefined, loss: lossOf(verdict, status) }),
  };
}

/** What a report has of a status as it is. */
const reported = [
  'protector',
  'securityLevel',
  'tpm',
  'token',
  'restore',
  'recoverable',
  'lastWrittenHere',
  'fileSystem',
  'passwordVerifiedMs',
  'dek',
  'rewindableBy',
  'continuity',
  'time',
  'repaired',
  'records',
  'logBytes',
  'liveBytes',
  'secretStore',
  'secretStoreSharesFileSystem',
  'notices',
  'library',
] as const satisfies readonly (keyof PersistenceStatus)[];

/** The part of a report that only a store whose vault could be read has; all of what `init --json` writes. */
export function documentOf(status: PersistenceStatus, lagSeconds?: Lag): object {
  const { instance, storageId, generation, head, permitCheckpoint, newestMs, witnesses, window } = status;
  return {
    instance,
    storageId,
    generation,
    head,
    permitCheckpoint,
    ...(newestMs > 0 && { newestMs }),
    witnesses: witnesses.map((witness) => ({
      name: witness.name,
      generation: witness.generation,
      head: witness.head,
      lagGenerations: witness.lagGenerations,
      lagSeconds: lagSeconds?.get(witness.name) ?? (witness.lagGenerations === 0 ? 0 : null),
    })),
    window: { generations: window.generations },
    ...Object.fromEntries(reported.map((name) => [name, status[name]])),
  };
}

function textOf(path: string, inspection: Inspection, lagSeconds: Lag): string {
  const paint = painter(process.stdout);
  const { verdict, error, instance, storageId, keySlots, secretStore, status } = inspection;
  const kind = protectorOf(inspection.protector);
  const state = stateOf(inspection);
  const rows: Row[] = [
    ['state', paint(verdict === 'ok' ? 'green' : 'red', state)],
    ['verdict', error === undefined ? verdict : `${verdict} (${error.code})`],
  ];
  if (error !== undefined) rows.push(['remedy', printable(error.remedy)]);
  rows.push(['directory', printable(path)], ['instance', printable(instance)], ['storage id', storageId]);
  if (status !== undefined) rows.push(...rowsOf(verdict, status, lagSeconds));
  else rows.push(...(kind.command?.headerRows(inspection) ?? []));
  rows.push(['passwords', passwordsText(keySlots)]);
  if (secretStore !== undefined) {
    rows.push([
      'secret store',
      secretStore.type === 'file' ? `file ${printable(secretStore.directory)}` : secretStore.type,
    ]);
  }
  for (const { timeMs, kind, message } of status?.notices ?? [])
    rows.push([paint('yellow', 'notice'.padEnd(16)), `${timeText(timeMs)}, ${printable(message)} [${kind}]`]);
  for (const note of notesOf(inspection)) rows.push([paint('yellow', 'note'.padEnd(16)), note]);
  const columns = columnsOf(process.stdout);
  const lead = error === undefined ? '' : `${paint('red', wrapped(leadOf(inspection, error), columns))}\n`;
  return lead + table(rows, (label) => paint('dim', label), columns);
}

/** What is the matter, in one sentence: refused, why, whether the data are safe. The remedy says what to do. */
function leadOf({ recoverable, status, verdict }: Inspection, error: PersistenceError): string {
  return `Refused: ${printable(error.message)}; ${safetyOf(recoverable, status, verdict, error)}.`;
}

function safetyOf(
  recoverable: boolean,
  status: PersistenceStatus | undefined,
  verdict: string,
  error: PersistenceError,
): string {
  if (error.reason === 'state-stale')
    return 'older files were put back, the machine was off for long, or the clock is ahead: it is not safe to use this state before that is known';
  if (error.retryable) return 'nothing is lost, and the store opens once that has passed';
  const exitCode = exitCodeOf(failureOf(error));
  if (exitCode === exitCodes.critical) {
    const commits = status && lossOf(verdict, status).commits;
    const missing =
      commits === undefined || commits === 0
        ? ''
        : `, and ${grouped(commits)} ${commits === 1 ? 'commit is' : 'commits are'} missing from it`;
    return `it is not safe to use this state before that is explained${missing}`;
  }
  if (exitCode === exitCodes.restoreRequired || error.reason === 'root-unavailable') {
    return recoverable
      ? 'the data are safe as long as the backup password is known'
      : 'there is no backup password, so the data are lost unless what is missing comes back';
  }
  return 'the files were not changed';
}

function rowsOf(verdict: string, status: PersistenceStatus, lagSeconds: Lag): Row[] {
  const { generation, newestMs, head, records, logBytes, liveBytes, witnesses, time } = status;
  const newest = newestMs > 0 ? `, ${timeText(newestMs)}` : '';
  const limit = time.maxAgeMs === 'off' ? 'no limit' : `at most ${limitText(time.maxAgeMs)}`;
  const { command, securityLevels } = protectorOf(status.protector);
  // A refused start may not have come as far as the stamp.
  const age = time.stampMs > 0 ? `${durationText(time.ageMs)} (${limit})` : `unknown (${limit})`;
  return [
    ['generation', `${grouped(generation)}${newest}`],
    ['head', shortHead(head)],
    ...(records > 0
      ? [
          [
            'records',
            `${grouped(records)}; log ${sizeText(logBytes)}, of which live ${sizeText(liveBytes)}`,
          ] as const,
        ]
      : []),
    ...witnesses.map((witness, index): Row => [
      index === 0 ? 'witnesses' : '',
      witnessText(witness, generation, lagSeconds),
    ]),
    // Of a refused store it would say what could be rewound in a state that no start accepts.
    ...(verdict === 'ok' ? [['window', windowText(status)] as const] : []),
    ...(status.fileSystem === undefined ? [] : [['file system', fileSystemText(status.fileSystem)] as const]),
    ['security level', securityLevels[status.securityLevel] ?? status.securityLevel],
    ...(command?.statusRows(status) ?? []),
    ...restoreRows(status),
    ['data key', dekText(status.dek)],
    ['rewindable by', status.rewindableBy],
    ['continuity', status.continuity],
    ['age', time.excused ? `${age}; the TPM's counter vouches for it` : age],
    ['clock tolerance', limitText(time.clockToleranceMs)],
  ];
}

function fileSystemText({ name, type }: NonNullable<PersistenceStatus['fileSystem']>): string {
  if (type === 'local') return name;
  if (type === 'memory') return `${name}; a restart of the machine empties it`;
  return `${name}: NOT SUPPORTED, because locks and syncs may not hold there`;
}

function restoreRows({ restore, passwordVerifiedMs }: PersistenceStatus): Row[] {
  const rows: Row[] = [];
  if (restore !== undefined) {
    const { completed, timeMs, cause, keysDeactivated } = restore;
    const keys = keysDeactivated === 0 ? '' : `, ${grouped(keysDeactivated)} keys deactivated`;
    rows.push([
      'restore',
      `${completed ? 'completed' : 'NOT COMPLETED'}, ${timeText(timeMs)}, after ${cause}${keys}`,
    ]);
  }
  rows.push(['password drill', passwordVerifiedMs === undefined ? 'never' : timeText(passwordVerifiedMs)]);
  return rows;
}

/** As persistence.bin says. */
function passwordsText(keySlots: readonly KeySlot[]): string {
  const passwords = passwordSlots(keySlots);
  return passwords.length === 0 ? 'none' : keySlotsText(passwords);
}

function dekText({ keyId, rotation }: PersistenceStatus['dek']): string {
  const rotations =
    keyId === 1 ? 'never rotated' : `rotated ${keyId === 2 ? 'once' : `${grouped(keyId - 1)} times`}`;
  return rotation === 'pending'
    ? `number ${grouped(keyId)}; its rotation is PENDING`
    : `number ${grouped(keyId)}, ${rotations}`;
}

/** What could be rewound now without every witness noticing. */
function windowText({ window: { generations, maxMs } }: PersistenceStatus): string {
  const limit = `at most ${limitText(maxMs)}`;
  if (generations === 0) return `none: every witness has seen the newest commit; ${limit}`;
  const commits = `${grouped(generations)} ${generations === 1 ? 'commit' : 'commits'}`;
  return `${commits} that not every witness has seen; ${limit}`;
}

function witnessText(
  { name, generation, lagGenerations }: WitnessStatus,
  newest: number,
  lagSeconds: Lag,
): string {
  const at = `${name.padEnd(13)} generation ${grouped(generation)}`;
  if (generation > newest) return `${at}, ${grouped(generation - newest)} AHEAD of the vault`;
  if (lagGenerations === 0) return `${at}, in step`;
  const seconds = lagSeconds.get(name);
  const since = seconds === undefined ? '' : ` for ${durationText(seconds * 1000)}`;
  return `${at}, ${grouped(lagGenerations)} behind${since}`;
}

/** What follows from a store without a backup password, which can only be given at COLDSTART. */
function unrecoverableText(protector: Inspection['protector'], authority: string | undefined): string {
  const { holder } = protectorOf(protector);
  const backup = authority === 'no-one' ? ', and no restored backup can be accepted' : '';
  return `not recoverable: there is no backup password. If the ${holder} is lost the data are lost${backup}`;
}

function notesOf({ files, recoverable, protector, status }: Inspection): string[] {
  const notes: string[] = [];
  if (!recoverable) notes.push(unrecoverableText(protector, status?.rewindableBy));
  if (files.oneCopyDamaged)
    notes.push('one copy in persistence.bin is damaged; the next start for writing mends it');
  if (!files.tamperFile)
    notes.push('tmtmp.bin is missing; the next start for writing begins it anew and records that');
  if (status === undefined) return notes;
  if (status.repaired.secret)
    notes.push('one copy of the root key is damaged; the next start for writing mends it');
  if (status.repaired.clock) notes.push('the clock had run ahead and was put right');
  if (status.dek.rotation === 'pending')
    notes.push('a rotation of the data encryption key was interrupted; `strongroom rotate dek` completes it');
  if (status.continuity === 'unproven') {
    notes.push('the root was lost and replaced; accept the present state with `strongroom reanchor`');
  }
  if (status.secretStoreSharesFileSystem === true) {
    notes.push(
      'the SecretStore is on the file system of the store: a snapshot that takes both back is not noticed',
    );
  }
  return notes;
}
