// What a start tells the operator: things that it found, mended or excused, and that stopped nothing.
import type { Notice } from './events.js';
import type { NativeStatus } from './native-binding.js';

/** The notices of the start that this status comes from. */
export function noticesOf(status: NativeStatus): Notice[] {
  const all: readonly (readonly [happened: boolean, kind: Notice['kind'], message: string])[] = [
    [status.tamperFileAnew, 'tamper-file-anew', 'tmtmp.bin was missing and was begun anew'],
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
