// What a reanchor gives up: the commits that a witness remembers and the vault does not hold.
import type { Reason } from '../error-table.js';
import type { PersistenceStatus, WitnessStatus } from '../store/status.js';

/** The state that a reanchor would accept, and what it gives up. */
export interface Loss {
  /** The newest commit that the vault holds. */
  readonly generation: number;
  /** Its time, milliseconds since 1970; undefined where it is not known. */
  readonly timeMs: number | undefined;
  /** How many commits after it the witnesses remember; undefined where it is not known. */
  readonly commits: number | undefined;
  /** When the newest of them was at the earliest; undefined where it is not known. */
  readonly lastMs: number | undefined;
  /** The witnesses that remember more than the vault holds. */
  readonly witnesses: readonly WitnessStatus['name'][];
}

/** Refusals for which the history continues somewhere else, although no witness gives a number. */
const continued: ReadonlySet<string> = new Set<Reason>([
  'vault-rolled-back',
  'vault-forked',
  'vault-tampered',
  'persistence-rolled-back',
]);

/**
 * What {@link reanchor} would give up in a store that a start judges so.
 * @param verdict - of inspect()
 */
export function lossOf(verdict: string, status: PersistenceStatus): Loss {
  const { generation, newestMs, witnesses, time } = status;
  const ahead = witnesses.filter((witness) => witness.generation > generation);
  const commits = Math.max(0, ...ahead.map((witness) => witness.generation - generation));
  const known = commits > 0 || !continued.has(verdict);
  return Object.freeze({
    generation,
    timeMs: newestMs > 0 ? newestMs : undefined,
    commits: known ? commits : undefined,
    lastMs: commits > 0 && time.stampMs > newestMs ? time.stampMs : undefined,
    witnesses: Object.freeze(ahead.map(({ name }) => name)),
  });
}
