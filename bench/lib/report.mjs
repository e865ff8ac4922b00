/** The report: on a terminal, and as docs/performance.md with its chart. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { works } from '../works/index.mjs';
import { chart } from './chart.mjs';
import { markdownTable, textTable } from './format.mjs';
import { figureRows, headerRows, syscallRows, verdictRows } from './tables.mjs';

/** @typedef {import('../types.d.ts').Results} Results */

/** @param {Results} results */
export function terminalReport(results) {
  const header = headerRows(results);
  const width = Math.max(...header.map(([name]) => name.length));
  const parts = [
    header.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n'),
    textTable(figureRows(results), 3),
    textTable(verdictRows(results), 3),
  ];
  if (results.syscalls.length > 0) parts.push(textTable(syscallRows(results), 3));
  return `${parts.join('\n\n')}\n`;
}

/** @param {Results} results */
function syscallSection(results) {
  if (results.syscalls.length === 0) return '';
  return `
## System calls

Counted with \`npm run bench -- --syscalls\` under strace, in a run of its own: calls on files of the store's directory,
divided by the records written. The disk of one machine flatters or punishes everyone alike; these figures do not
depend on it. strongroom writes the place of a commit twice: first with zeros, 1 MiB at a time, so that the commit changes
neither the size of the file nor where it lies. What is left is the audit log and the other witnesses.

${markdownTable(syscallRows(results), 3)}
`;
}

const tpmSection = `## Root in a TPM

On swtpm 0.7.1, with Node 20 on two cores. "Before" is version 0.1.0, built from its tag and run on the same machine in the same
minutes. A chip takes 10 to 100 ms for each NV write, so there the two writes decide; [tpm.md](tpm.md) tells what that means.

| | before | now | measured by |
| --- | ---: | ---: | --- |
| NV writes per anchor | 1 | 2 | the protocol, [design/anchors.md](design/anchors.md) |
| commands of a warm start | 21 | 28 | \`test/acceptance/tpm-root.test.ts\` |
| commands of one witnessed commit | 5 | 6 | the same |
| commands of a close | 8 | 9 | the same |
| anchors a second | 70 | 40 | \`node bench/anchors-tpm.mjs 5 CHECKOUT\`, medians |
| witnessed commits a second, 64 in flight | 4,084 | 2,508 | the same |
| warm-tpm, reading: x (warm + device) | 1.20 | 1.28 | \`node bench/warm-tpm.mjs 15\`, medians |
| warm-tpm, writing: x (warm + device) | 1.46 | 1.37 | the same |
| commands of a reading process, of a writing one | 19, 29 | 23, 37 | the same |
`;

/** @param {Results} results */
function methodSection(results) {
  return `## Method

- Each engine runs in a process of its own, with a fresh process per round, on a directory of its own on the same disk.
  Work by work and N by N the engines run one right after the other, in an order that moves on with each round, on the
  same sequence of keys.
- Every write is durable when it counts: SQLite with WAL and \`synchronous=FULL\`, lmdb with \`overlappingSync\` off,
  classic-level with \`sync: true\`, strongroom as it comes.
- Keys and values are made before the clock starts: an application has just made its own, too.
- Raw keys for all: a key derivation would swamp the times of opening. The peers keep their default caches.
- \`limit\` writes the same bytes with one pwrite and one fdatasync into a file whose blocks are already allocated, copies
  256 bytes from memory for \`get\`, and for \`open-verify\` reads a file of all records and opens it with AES-256-GCM in
  pieces of 16 KiB. It has no index, no chain and no recovery.
- Page caches are warm: every file has just been written or read by its engine.
- A measurement in which other processes took more than 10 % of the machine's CPU time, or the hypervisor more than 5 %,
  is repeated, with all its engines, at most ${results.options.retries} times; the quietest try counts.
- After each work an engine is left to finish what it does in the background before the next one starts.
- p99 near a multiple of 4 ms is the kernel's scheduler, not the engine.
- Runs differ by more than the rounds of one do. A virtual machine's processor and memory can be slower by half for an
  hour while its disk is not, and then what strongroom gains by syncing once for many records shrinks. Seven runs of
  version 0.1.0 within two days gave put-64 against the best peer 1.85, 1.89, 1.98, 2.06, 2.07, 2.09 and 2.11 at 1 k, and
  3.83, 4.40, 4.45, 5.08, 5.08, 5.39 and 5.45 at 1 M. Compare versions within one run only.
`;
}

/**
 * @param {Results} results
 * @param {string} image file name of the chart
 */
export function markdownReport(results, image) {
  const measured = new Set(results.samples.map(({ work }) => work));
  const described = works.filter(({ name, gates }) => measured.has(name) || gates.length > 0);
  return `# Performance

Made by \`npm run bench\`; do not edit. [How it is measured](#method) stands at the end.

![Bars of strongroom, its peers and the machine's limit for four works](${image})

## Claims

Each claim is a ratio (or figure) inside one round; the table has the median over the rounds and, in brackets, the
spread. "Best peer" is the fastest peer that encrypts *and authenticates*; lmdb's encryption has no MAC, so it counts
for \`get\` only.

${markdownTable(verdictRows(results), 3)}

## Figures

Median over the rounds, spread in brackets. \`limit\` is what the machine itself allows. N is the number of records in the
store. A dash: the engine has no such operation.

${markdownTable(figureRows(results), 3)}
${syscallSection(results)}
${tpmSection}
## Machine and engines

${markdownTable([['', ''], ...headerRows(results)], 2)}

## Works

A record is a 24-byte key and 256 random bytes. Puts overwrite random existing keys, so that N stays what it is.

${markdownTable([['name', 'work'], ...described.map(({ name, title }) => [name, title])], 2)}

${methodSection(results)}`;
}

/**
 * @param {Results} results
 * @param {string} base path without extension
 */
export async function publish(results, base) {
  await mkdir(dirname(base), { recursive: true });
  await writeFile(`${base}.svg`, chart(results));
  await writeFile(`${base}.md`, markdownReport(results, `${basename(base)}.svg`));
}
