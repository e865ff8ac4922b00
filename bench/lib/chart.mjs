/**
 * The chart: one panel of horizontal bars per work, at the largest N measured. Drawn by hand as SVG, with colours that
 * follow the reader's light or dark scheme.
 */
import { workNamed } from '../works/index.mjs';
import { formatNumber, formatSize, scale } from './format.mjs';
import { figure } from './verdicts.mjs';

const PANELS = ['put-1', 'put-64', 'get', 'open-verify'];
const WIDTH = 860;
const GAP = 40;
const PANEL_WIDTH = (WIDTH - 3 * GAP) / 2;
const NAME_WIDTH = 96;
const VALUE_WIDTH = 60;
const BAR_HEIGHT = 16;
const ROW_HEIGHT = 24;
const HEAD_HEIGHT = 44;

const STYLE = `
    .ground { fill: #ffffff; }
    text { font: 12px system-ui, 'Helvetica Neue', Arial, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 13px; }
    .note { fill: #57606a; font-size: 11px; }
    .name { text-anchor: end; }
    .peer { fill: #8c959f; }
    .subject { fill: #0969da; }
    .limit { fill: none; stroke: #8c959f; stroke-dasharray: 3 2; }
    .spread { stroke: #24292f; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117; }
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .peer { fill: #656c76; }
      .subject { fill: #4493f8; }
      .limit { stroke: #9198a1; }
      .spread { stroke: #e6edf3; }
    }`;

const escape = (/** @type {string} */ text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const round = (/** @type {number} */ value) => Math.round(value * 10) / 10;

/**
 * @param {import('../types.d.ts').Results} results
 * @param {string} name of the work
 */
function panelData(results, name) {
  const work = workNamed(name);
  const shown = work.shows[0];
  if (shown === undefined) return undefined;
  const n = [...results.options.sizes]
    .reverse()
    .find((size) => results.samples.some((sample) => sample.work === name && sample.n === size));
  if (n === undefined) return undefined;
  const bars = Object.entries(results.engines).flatMap(([engine, { role }]) => {
    const over = figure(results, { work: name, n, engine, metric: shown.metric });
    return over === undefined ? [] : [{ engine, role, over }];
  });
  const better = shown.better === 'lower' ? 'shorter is better' : 'longer is better';
  const unit = scale(0, shown.unit).unit;
  const title = `${name}: ${shown.label}, ${unit}`;
  return { title, note: `N = ${formatSize(n)}; ${better}`, unit: shown.unit, bars };
}

/**
 * @param {NonNullable<ReturnType<typeof panelData>>} panel
 * @param {number} left
 * @param {number} top
 */
function drawPanel({ title, note, unit, bars }, left, top) {
  const room = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;
  // Scaled by the medians, so that one slow round of one engine does not flatten all others.
  const most = 1.15 * Math.max(...bars.map(({ over }) => over.median));
  const x0 = left + NAME_WIDTH;
  const width = (/** @type {number} */ value) => Math.min(Math.max(round((value / most) * room), 1), room);
  const drawn = bars.map(({ engine, role, over }, index) => {
    const y = top + HEAD_HEIGHT + index * ROW_HEIGHT;
    const middle = y + BAR_HEIGHT / 2;
    const value = formatNumber(scale(over.median, unit).value);
    return `
    <text class="name" x="${x0 - 8}" y="${middle + 4}">${escape(engine)}</text>
    <rect class="${role}" x="${x0}" y="${y}" width="${width(over.median)}" height="${BAR_HEIGHT}" rx="2"/>
    <line class="spread" x1="${round(x0 + width(over.min))}" x2="${round(x0 + width(over.max))}" y1="${middle}" y2="${middle}"/>
    <text x="${round(x0 + width(over.max)) + 6}" y="${middle + 4}">${value}</text>`;
  });
  return `
  <g>
    <text class="title" x="${left}" y="${top + 12}">${escape(title)}</text>
    <text class="note" x="${left}" y="${top + 29}">${escape(note)}</text>${drawn.join('')}
  </g>`;
}

/** @param {import('../types.d.ts').Results} results */
export function chart(results) {
  const panels = PANELS.map((name) => panelData(results, name)).filter((panel) => panel !== undefined);
  const rows = Math.max(1, Object.keys(results.engines).length);
  const panelHeight = HEAD_HEIGHT + rows * ROW_HEIGHT + GAP / 2;
  const height = GAP / 2 + Math.ceil(panels.length / 2) * panelHeight + 16;
  const drawn = panels.map((panel, index) =>
    drawPanel(panel, GAP + (index % 2) * (PANEL_WIDTH + GAP), GAP / 2 + Math.floor(index / 2) * panelHeight),
  );
  const foot = `Medians of ${results.options.rounds} interleaved rounds; the thin line is the spread. lmdb has no MAC. ${results.machine['cpu']}.`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Strongroom and its peers: ${panels.map(({ title }) => escape(title)).join('; ')}">
  <style>${STYLE}
  </style>
  <rect class="ground" width="100%" height="100%"/>${drawn.join('')}
  <text class="note" x="${GAP}" y="${height - 10}">${escape(foot)}</text>
</svg>
`;
}
