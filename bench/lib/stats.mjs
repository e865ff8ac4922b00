/** Medians and spreads. All functions leave their input unsorted. */

/**
 * The value below which the share `p` of the samples lies (nearest rank); NaN for none.
 *
 * @param {ArrayLike<number>} samples
 * @param {number} p 0 to 1
 */
export function percentile(samples, p) {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  const rank = Math.ceil(p * sorted.length) - 1;
  return /** @type {number} */ (sorted[Math.min(Math.max(rank, 0), sorted.length - 1)]);
}

/** @param {ArrayLike<number>} samples */
export function median(samples) {
  const sorted = Float64Array.from(samples).sort();
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = /** @type {number} */ (sorted[middle]);
  const lower = /** @type {number} */ (sorted[middle - 1]);
  return sorted.length % 2 === 1 ? upper : (lower + upper) / 2;
}

/** @param {number[]} samples */
export function summary(samples) {
  return {
    median: median(samples),
    min: Math.min(...samples),
    max: Math.max(...samples),
    rounds: samples.length,
  };
}
