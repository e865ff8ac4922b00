// Events to subscribers.
//
// Invariants
// - An event is delivered after the promise of its operation has settled, in order of commits, in a turn of the event
//   loop of its own; never from inside a call of the vault.
// - A subscriber that throws, or whose promise rejects, harms nothing: the error goes to the diagnostics channel
//   `strongroom:subscriber-error`, or, when nobody listens there, becomes a process warning.
import { channel } from 'node:diagnostics_channel';
import { types } from 'node:util';

import { isError } from '../base/realms.js';

/** An operation on the vault. */
export interface VaultEvent {
  /**
   * - `write`, `delete`: durable now; one event for each operation of a batch.
   * - `time`: TIME_TAMPER was refreshed.
   * - `read`: {@link Vault.get} found a value. Changes nothing, in memory or on disk.
   */
  readonly op: 'write' | 'delete' | 'time' | 'read';
  /** The key as the caller gave it, bytes as a copy. Absent for `time`. */
  readonly key?: string | Buffer;
  /** The commit's generation; for `read` the newest one known. */
  readonly generation: number;
}

/** Something that the operator should know and that stopped nothing. */
export interface Notice {
  /**
   * - `tamper-file-anew`: tmtmp.bin was missing; the SecretStore vouched for the vault, and the file was begun anew.
   * - `tail-repaired`: the end of vault.bin, torn by a crash, was cut off.
   * - `persistence-repaired`, `secret-repaired`: one of two copies was damaged and is mended.
   * - `clock-corrected`: the clock had run ahead and was put right.
   * - `clock-unsynchronised`: COLDSTART while the kernel says that nothing has set the clock (adjtimex(2), STA_UNSYNC).
   * - `age-excused`: TIME_TAMPER was older than the limit; the TPM's counter proves the state current, so it was accepted.
   * - `unsupported-file-system`: the directory is on a network file system or on FUSE. Two machines may be able to write.
   * - `time-refresh-failed`: the hourly refresh of TIME_TAMPER failed; `cause` says why. It is tried again.
   * - `compaction-failed`: a compaction that the store began by itself failed; `cause` says why. The store goes on with the
   *   old log. After `no-space` it is tried again once the file system has room for a second log.
   */
  readonly kind:
    | 'tamper-file-anew'
    | 'tail-repaired'
    | 'persistence-repaired'
    | 'secret-repaired'
    | 'clock-corrected'
    | 'clock-unsynchronised'
    | 'age-excused'
    | 'unsupported-file-system'
    | 'time-refresh-failed'
    | 'compaction-failed';
  readonly message: string;
  readonly cause?: unknown;
}

export interface PersistenceEvents {
  vault: VaultEvent;
  notice: Notice;
}

export type Listener<T> = (event: T) => unknown;

/** What `strongroom:subscriber-error` publishes. */
export interface SubscriberError {
  readonly event: keyof PersistenceEvents | 'progress';
  readonly error: unknown;
}

const subscriberErrors = channel('strongroom:subscriber-error');

/** Reads beyond this many events in one turn are not reported, so that a loop of reads cannot fill the memory. */
const readEventsMax = 65_536;
/** Notices of the start wait here for the first subscriber. */
const noticesKept = 64;

export class EventHub {
  readonly #vault = new Set<Listener<VaultEvent>>();
  readonly #notice = new Set<Listener<Notice>>();
  #queue: VaultEvent[] = [];
  #notices: Notice[] = [];
  #scheduled = false;
  #dispatching = false;

  /** Whether anyone listens to `vault`: without a listener no event is made. */
  get listening(): boolean {
    return this.#vault.size !== 0;
  }

  /** Whether a read is to be reported: not when a subscriber itself reads. */
  get listeningToReads(): boolean {
    return this.#vault.size !== 0 && !this.#dispatching;
  }

  add<Name extends keyof PersistenceEvents>(name: Name, listener: Listener<PersistenceEvents[Name]>): void {
    this.#listeners(name).add(listener);
    if (name === 'notice' && this.#notices.length !== 0) this.#schedule();
  }

  remove<Name extends keyof PersistenceEvents>(
    name: Name,
    listener: Listener<PersistenceEvents[Name]>,
  ): void {
    this.#listeners(name).delete(listener);
  }

  publish(event: VaultEvent): void {
    if (this.#vault.size === 0) return;
    if (event.op === 'read' && this.#queue.length >= readEventsMax) return;
    this.#queue.push(event);
    this.#schedule();
  }

  notify(notice: Notice): void {
    if (this.#notices.length < noticesKept) this.#notices.push(notice);
    if (this.#notice.size !== 0) this.#schedule();
  }

  /** Delivers what waits now. */
  flush(): void {
    this.#scheduled = false;
    const events = this.#queue;
    this.#queue = [];
    for (const event of events) this.#dispatch('vault', event);
    if (this.#notice.size === 0) return;
    const notices = this.#notices;
    this.#notices = [];
    for (const notice of notices) this.#dispatch('notice', notice);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.flush();
    });
  }

  #listeners<Name extends keyof PersistenceEvents>(name: Name): Set<Listener<PersistenceEvents[Name]>> {
    const set: unknown = name === 'vault' ? this.#vault : this.#notice;
    return set as Set<Listener<PersistenceEvents[Name]>>;
  }

  #dispatch<Name extends keyof PersistenceEvents>(name: Name, event: PersistenceEvents[Name]): void {
    const before = this.#dispatching;
    this.#dispatching = true;
    for (const listener of [...this.#listeners(name)]) {
      try {
        const answer = listener(event);
        if (types.isPromise(answer)) {
          answer.catch((error: unknown) => {
            reportSubscriber(name, error);
          });
        }
      } catch (error) {
        reportSubscriber(name, error);
      }
    }
    this.#dispatching = before;
  }
}

/** The same function; what it throws is reported and goes no further. */
export function guarded<Parameters extends unknown[]>(
  event: SubscriberError['event'],
  call: ((...parameters: Parameters) => unknown) | undefined,
): ((...parameters: Parameters) => void) | undefined {
  if (call === undefined) return undefined;
  return (...parameters) => {
    try {
      call(...parameters);
    } catch (error) {
      reportSubscriber(event, error);
    }
  };
}

function reportSubscriber(event: SubscriberError['event'], error: unknown): void {
  if (subscriberErrors.hasSubscribers) {
    const message: SubscriberError = { event, error };
    subscriberErrors.publish(message);
    return;
  }
  const text = isError(error) ? (error.stack ?? error.message) : 'a value that is not an Error';
  process.emitWarning(`a subscriber of '${event}' failed: ${text}`, 'StrongroomWarning');
}
