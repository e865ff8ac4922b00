/** From samples to figures with a spread, and from rounds to verdicts. */
import { works } from '../works/index.mjs';
import { summary } from './stats.mjs';

/** @typedef {import('../types.d.ts').Results} Results */
/** @typedef {ReturnType<typeof summary>} Summary */

/**
 * A metric over all rounds; `undefined` if the engine did not do that work.
 *
 * @param {Results} results
 * @param {{ work: string, n: number, engine: string, metric: string }} which
 */
export function figure(results, { work, n, engine, metric }) {
  const values = results.samples
    .filter((sample) => sample.work === work && sample.n === n && sample.engine === engine)
    .map((sample) => sample.metrics[metric])
    .filter((value) => value !== undefined);
  return values.length === 0 ? undefined : summary(values);
}

/**
 * @param {Results} results
 * @param {number} round
 * @param {string} gateWork
 * @param {number} gateN
 * @returns {import('../types.d.ts').RoundView}
 */
function viewOf(results, round, gateWork, gateN) {
  /** @type {import('../types.d.ts').RoundView['value']} */
  const value = (engine, metric, { work = gateWork, n = gateN } = {}) =>
    results.samples.find(
      (sample) =>
        sample.round === round && sample.work === work && sample.n === n && sample.engine === engine,
    )?.metrics[metric];
  return {
    n: gateN,
    sizes: results.options.sizes,
    value,
    bestPeer: (metric, better, { work = gateWork, also = [] } = {}) => {
      const values = Object.entries(results.engines)
        .filter(
          ([name, { role, authenticated }]) => role === 'peer' && (authenticated || also.includes(name)),
        )
        .map(([name]) => value(name, metric, { work }))
        .filter((found) => found !== undefined);
      if (values.length === 0) return undefined;
      return better === 'higher' ? Math.max(...values) : Math.min(...values);
    },
  };
}

/**
 * @param {'at least' | 'at most'} direction
 * @param {number} value
 * @param {number} mark
 */
export const reaches = (direction, value, mark) => (direction === 'at least' ? value >= mark : value <= mark);

/**
 * @typedef {{ work: string, n: number, label: string, unit: string, direction: 'at least' | 'at most',
 *   bar: number | undefined, moonshot: number | undefined, met: boolean | undefined, summary: Summary }} Verdict
 *   `met` is undefined where there is no bar
 */

/**
 * @param {Results} results
 * @returns {Verdict[]}
 */
export function verdicts(results) {
  /** @type {Verdict[]} */
  const found = [];
  for (const work of works) {
    for (const gate of work.gates) {
      for (const n of results.options.sizes) {
        const values = Array.from({ length: results.options.rounds }, (_, round) =>
          gate.value(viewOf(results, round, work.name, n)),
        ).filter((value) => value !== undefined);
        if (values.length === 0) continue;
        if (work.sizes === 'last' && n !== Math.max(...results.options.sizes)) continue;
        found.push(verdict(work.name, n, gate, gate.bar(n), gate.moonshot(n), summary(values)));
      }
    }
    found.push(...syscallVerdicts(results, work));
  }
  return found;
}

/**
 * @param {string} work
 * @param {number} n
 * @param {Pick<import('../types.d.ts').Gate, 'label' | 'unit' | 'direction'>} gate
 * @param {number | undefined} bar
 * @param {number | undefined} moonshot
 * @param {Summary} over
 * @returns {Verdict}
 */
function verdict(work, n, { label, unit, direction }, bar, moonshot, over) {
  const met = bar === undefined ? undefined : reaches(direction, over.median, bar);
  return { work, n, label, unit, direction, bar, moonshot, met, summary: over };
}

/**
 * @param {Results} results
 * @param {import('../types.d.ts').Work} work
 */
function syscallVerdicts(results, work) {
  const { syncsPerPut, bytesPerPut } = work.syscalls ?? {};
  /** @type {Verdict[]} */
  const found = [];
  for (const count of results.syscalls) {
    if (count.work !== work.name || count.engine !== 'strongroom') continue;
    const add = (
      /** @type {string} */ label,
      /** @type {number} */ value,
      /** @type {number | undefined} */ bar,
    ) => {
      if (bar === undefined) return;
      const gate = { label, unit: '', direction: /** @type {const} */ ('at most') };
      const judged = verdict(work.name, count.n, gate, bar, undefined, summary([value]));
      // What follows at intervals (witnesses) is not "per put": allow it one part in fifty.
      found.push({ ...judged, met: value <= bar * 1.02 });
    };
    add('syncs per put', count.syncs_per_put, syncsPerPut);
    add('bytes written per put', count.bytes_per_put, bytesPerPut);
  }
  return found;
}
