/** The three tables of a report, as rows of text; head first. */
import { works } from '../works/index.mjs';
import { formatNumber, formatSize, formatSummary, scale } from './format.mjs';
import { figure, reaches, verdicts } from './verdicts.mjs';

/** @typedef {import('../types.d.ts').Results} Results */

/**
 * Every figure: work, N, metric against the engines, the machine's limit first.
 *
 * @param {Results} results
 */
export function figureRows(results) {
  const engines = Object.keys(results.engines);
  const rows = [['work', 'N', 'figure', ...engines]];
  for (const work of works) {
    for (const { metric, label, unit } of work.shows) {
      for (const n of results.options.sizes) {
        const cells = engines.map((engine) =>
          formatSummary(figure(results, { work: work.name, n, engine, metric }), unit),
        );
        if (cells.every((cell) => cell === '-')) continue;
        rows.push([work.name, formatSize(n), `${label}, ${scale(0, unit).unit}`, ...cells]);
      }
    }
  }
  return rows;
}

/**
 * Every claim with its bar.
 *
 * @param {Results} results
 */
export function verdictRows(results) {
  const rows = [['work', 'N', 'claim', 'median (spread)', 'bar', 'moonshot', 'verdict']];
  for (const { work, n, label, unit, direction, bar, moonshot, met, summary } of verdicts(results)) {
    const word = met === undefined ? '-' : met ? 'met' : 'not met';
    const farther = moonshot !== undefined && reaches(direction, summary.median, moonshot);
    const sign = direction === 'at least' ? '>=' : '<=';
    rows.push([
      work,
      formatSize(n),
      unit === 'x' || unit === '' ? label : `${label}, ${unit}`,
      formatSummary(summary),
      bar === undefined ? '-' : `${sign} ${formatNumber(bar)}`,
      moonshot === undefined ? '-' : `${sign} ${formatNumber(moonshot)}`,
      farther ? 'met, moonshot too' : word,
    ]);
  }
  return rows;
}

/**
 * Syncs and bytes per record, where they were counted.
 *
 * @param {Results} results
 */
export function syscallRows(results) {
  const rows = [['work', 'N', 'engine', 'syncs per put', 'writes per put', 'bytes per put']];
  for (const count of results.syscalls) {
    const figures = [count.syncs_per_put, count.writes_per_put, count.bytes_per_put].map(formatNumber);
    rows.push([count.work, formatSize(count.n), count.engine, ...figures]);
  }
  return rows;
}

/**
 * What the numbers were made on and with, as lines of "name: value".
 *
 * @param {Results} results
 */
export function headerRows(results) {
  const { machine, options, engines, absent, noise } = results;
  /** @type {[string, string][]} */
  const rows = [
    ['date', results.started],
    ['CPU', `${machine['cpu']}, ${machine['memory']}`],
    ['kernel', String(machine['kernel'])],
    ['file system', String(machine['file_system'])],
    ['fdatasync', `${machine['fdatasync_us']} us for 4 KiB in a preallocated file (median)`],
    ['Node', String(machine['node'])],
    ['run', `${options.rounds} interleaved rounds, ${options.seconds} s per work, engine and round`],
    ['quiet', quietness(noise)],
  ];
  for (const [name, facts] of Object.entries(engines)) {
    const title = facts.version === '' ? name : `${name} ${facts.version}`;
    rows.push([title, `${facts.settings}; cipher: ${facts.crypto}`]);
  }
  for (const [name, reason] of Object.entries(absent)) rows.push([name, `left out: ${reason}`]);
  return rows;
}

/** @param {Results['noise']} noise */
function quietness({ cells, repeated, noisy }) {
  const rule = 'others over 10 % CPU or steal over 5 %';
  if (repeated === 0 && noisy.length === 0) return `all ${cells} measurements (${rule} would repeat one)`;
  const rest =
    noisy.length === 0
      ? 'then all were quiet'
      : `${noisy.length} stayed noisy (${noisy.slice(0, 5).join('; ')}${noisy.length > 5 ? '; …' : ''})`;
  return `${cells} measurements, ${repeated} repeats (${rule}), ${rest}`;
}
