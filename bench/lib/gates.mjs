/**
 * Builders for the claims that a work is judged by. Each value is computed inside one round, where all engines ran one
 * after the other, and the claim is judged by the median over the rounds.
 */

/**
 * @typedef {number | Record<number, number>} PerSize a figure for every N, or one for each N from there on; below the
 *   first there is none, and the value is only reported
 */

/**
 * @param {PerSize | undefined} figure
 * @param {number} n
 */
function figureFor(figure, n) {
  if (figure === undefined || typeof figure === 'number') return figure;
  const sizes = Object.keys(figure).map(Number);
  const fitting = sizes.filter((size) => size <= n);
  return fitting.length > 0 ? figure[Math.max(...fitting)] : undefined;
}

/**
 * @param {{ bar: PerSize, moonshot?: PerSize | undefined }} figures
 * @returns {Pick<import('../types.d.ts').Gate, 'bar' | 'moonshot'>}
 */
const figuresOf = ({ bar, moonshot }) => ({
  bar: (n) => figureFor(bar, n),
  moonshot: (n) => figureFor(moonshot, n),
});

/**
 * @param {number | undefined} subject
 * @param {number | undefined} other
 * @param {'lower' | 'higher'} better
 */
function timesBetter(subject, other, better) {
  if (subject === undefined || other === undefined) return undefined;
  return better === 'higher' ? subject / other : other / subject;
}

/**
 * How many times better than the best peer.
 *
 * @param {{ metric: string, better: 'lower' | 'higher', bar: PerSize, moonshot?: PerSize, label?: string,
 *   peerWork?: string, also?: string[] }} claim `peerWork`: the work of the peers to compare with, if another;
 *   `also`: peers that count although they are not authenticated
 * @returns {import('../types.d.ts').Gate}
 */
export function versusBestPeer({ metric, better, label = 'x best peer', peerWork, also, ...figures }) {
  return {
    label,
    unit: 'x',
    direction: 'at least',
    ...figuresOf(figures),
    value: (round) => {
      const best = round.bestPeer(metric, better, {
        ...(peerWork && { work: peerWork }),
        ...(also && { also }),
      });
      return timesBetter(round.value('strongroom', metric), best, better);
    },
  };
}

/**
 * How many times the limit's time.
 *
 * @param {{ metric: string, bar: PerSize, moonshot?: PerSize }} claim
 * @returns {import('../types.d.ts').Gate}
 */
export function versusLimit({ metric, ...figures }) {
  return {
    label: "x the limit's time",
    unit: 'x',
    direction: 'at most',
    ...figuresOf(figures),
    // Of two times, "b is how many times better than a" is a / b.
    value: (round) => timesBetter(round.value('limit', metric), round.value('strongroom', metric), 'lower'),
  };
}

/**
 * Strongroom against itself at another work.
 *
 * @param {{ metric: string, work: string, bar: PerSize, moonshot?: PerSize }} claim
 * @returns {import('../types.d.ts').Gate}
 */
export function versusOwn({ metric, work, ...figures }) {
  return {
    label: `x own ${work}`,
    unit: 'x',
    direction: 'at least',
    ...figuresOf(figures),
    value: (round) =>
      timesBetter(round.value('strongroom', metric), round.value('strongroom', metric, { work }), 'higher'),
  };
}

/**
 * Strongroom at this N against itself at the smallest.
 *
 * @param {{ metric: string, better: 'lower' | 'higher', work: string, bar: PerSize, moonshot?: PerSize }} claim
 * @returns {import('../types.d.ts').Gate}
 */
export function versusSmallest({ metric, better, work, ...figures }) {
  return {
    label: `${work} against the smallest N`,
    unit: 'x',
    direction: 'at least',
    ...figuresOf(figures),
    value: (round) => {
      const smallest = Math.min(...round.sizes);
      if (round.n === smallest) return undefined;
      const here = round.value('strongroom', metric, { work });
      return timesBetter(here, round.value('strongroom', metric, { work, n: smallest }), better);
    },
  };
}

/**
 * A figure of its own.
 *
 * @param {{ metric: string, unit: string, label: string, bar: PerSize, moonshot?: PerSize }} claim
 * @returns {import('../types.d.ts').Gate}
 */
export function atMost({ metric, unit, label, ...figures }) {
  return {
    label,
    unit,
    direction: 'at most',
    ...figuresOf(figures),
    value: (round) => round.value('strongroom', metric),
  };
}
