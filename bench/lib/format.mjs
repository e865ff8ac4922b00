/** Numbers and tables as text. */

/** @param {number} n records */
export function formatSize(n) {
  if (n % 1e6 === 0) return `${n / 1e6} M`;
  return n % 1e3 === 0 ? `${n / 1e3} k` : String(n);
}

/** @param {number} value three significant digits, thousands separated */
export function formatNumber(value) {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  const digits = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.01 ? 3 : 5;
  const fixed = value.toFixed(digits);
  return size >= 1000 ? fixed.replace(/\B(?=(\d{3})+$)/g, ',') : fixed;
}

/** Rates print in thousands: `k/s` is what the tables of this field use. */
const SCALED = { '/s': { unit: 'k/s', by: 1e-3 } };

/**
 * @param {number} value
 * @param {string} unit
 */
export function scale(value, unit) {
  const scaled = SCALED[/** @type {'/s'} */ (unit)];
  return scaled === undefined ? { value, unit } : { value: value * scaled.by, unit: scaled.unit };
}

/**
 * "88 (85-97)": the median and the spread over the rounds.
 *
 * @param {import('./verdicts.mjs').Summary | undefined} over
 * @param {string} unit
 */
export function formatSummary(over, unit = '') {
  if (over === undefined) return '-';
  const [median, min, max] = [over.median, over.min, over.max].map((value) =>
    formatNumber(scale(value, unit).value),
  );
  return over.rounds === 1 ? String(median) : `${median} (${min}-${max})`;
}

/**
 * Columns padded to their width; the first `left` are aligned to the left.
 *
 * @param {string[][]} rows the first is the head
 * @param {number} left
 */
export function textTable(rows, left) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (/** @type {string[]} */ row) =>
    row
      .map((cell, column) =>
        column < left ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n');
}

/**
 * @param {string[][]} rows the first is the head
 * @param {number} left
 */
export function markdownTable(rows, left) {
  const line = (/** @type {string[]} */ row) =>
    `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = (rows[0] ?? []).map((_, column) => (column < left ? '---' : '---:'));
  return [line(rows[0] ?? []), line(rule), ...rows.slice(1).map(line)].join('\n');
}
