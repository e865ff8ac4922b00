// What a start tells the operator: things that it found, mended or excused, and that stopped nothing. The last ones stay in the
// vault until they are acknowledged, because a service that starts at night has no one who reads its log.
import type { Notice } from '../vault/events.js';
import type { NativeStatus, NativeStore } from '../native-binding.js';

/** A notice of a start, kept until it is acknowledged. */
export interface KeptNotice {
  readonly kind: Notice['kind'];
  readonly message: string;
  /** When the start was, milliseconds since 1970. */
  readonly timeMs: number;
  /** Whether it is of the start that this status comes from. */
  readonly current: boolean;
}

/** A system record: JSON, a list of [kind, message, timeMs]. */
const recordName = 'notices';
const keptMax = 16;

/** The notices of the start that this status comes from. */
export function noticesOf(status: NativeStatus): Notice[] {
  const all: readonly (readonly [happened: boolean, kind: Notice['kind'], message: string])[] = [
    [status.tamperFileRecreated, 'tamper-file-anew', 'tmtmp.bin was missing and was begun anew'],
    [status.tailRepaired, 'tail-repaired', 'the torn end of the vault file was cut off'],
    [status.persistenceRepaired, 'persistence-repaired', 'one copy in persistence.bin was damaged'],
    [status.secretRepaired, 'secret-repaired', 'one copy of the root key was damaged'],
    [
      status.ageExcused,
      'age-excused',
      "the newest stamp was older than the limit; the TPM's counter proves the state current",
    ],
    [
      status.fileSystem?.type === 'network' || status.fileSystem?.type === 'fuse',
      'unsupported-file-system',
      `the directory is on ${status.fileSystem?.name ?? ''}, where locks and syncs may not hold; use a local file system`,
    ],
    [status.clockCorrected, 'clock-corrected', 'the clock had run ahead and was put right'],
    [
      status.clockUnsynchronised,
      'clock-unsynchronised',
      'the store was made while nothing had set the system clock; run NTP, and wait for it before the service starts',
    ],
  ];
  return all.filter(([happened]) => happened).map(([, kind, message]) => Object.freeze({ kind, message }));
}

/** To whoever makes the store. */
const saidOnce: Notice['kind'] = 'clock-unsynchronised';

type Entry = readonly [kind: Notice['kind'], message: string, timeMs: number];

async function readEntries(native: NativeStore): Promise<readonly Entry[]> {
  const stored = await native.maintenance.getSystemRecord(recordName);
  return stored === undefined ? [] : (JSON.parse(stored.toString()) as Entry[]);
}

/**
 * The notices that wait to be acknowledged, oldest first, those of this start last. A start for writing keeps its own. What
 * cannot be kept now is still reported, and stops no start.
 */
export async function keepNotices(
  native: NativeStore,
  nowMs: number,
  { isReader }: { readonly isReader: boolean },
): Promise<readonly KeptNotice[]> {
  const status = native.status();
  const fresh = status === undefined ? [] : noticesOf(status);
  const found = fresh.filter(({ kind }) => kind !== saidOnce);
  const before = await readEntries(native).catch(() => []);
  const all = [...before, ...fresh.map(({ kind, message }): Entry => [kind, message, nowMs])].slice(-keptMax);
  if (found.length > 0 && !isReader) {
    const kept = all.filter(([kind]) => kind !== saidOnce);
    await native.maintenance
      .setSystemRecord(recordName, Buffer.from(JSON.stringify(kept)))
      .catch(() => undefined);
  }
  const firstCurrent = all.length - fresh.length;
  return Object.freeze(
    all.map(([kind, message, timeMs], index) =>
      Object.freeze({ kind, message, timeMs, current: index >= firstCurrent }),
    ),
  );
}

/** Forgets them. */
export async function acknowledgeNotices(native: NativeStore): Promise<void> {
  if ((await readEntries(native)).length > 0)
    await native.maintenance.setSystemRecord(recordName, Buffer.from('[]'));
}
