#!/usr/bin/env node
/**
 * `npm run bench`: strongroom against its peers and against the machine. Installs the peers in this folder on first
 * use, runs the rounds, prints the tables, and writes results/latest.json. See --help.
 */
import fs from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { describeMachine } from './lib/machine.mjs';
import { USAGE, parseOptions } from './lib/options.mjs';
import { ensurePeers } from './lib/peers.mjs';
import { publish, terminalReport } from './lib/report.mjs';
import { Schedule } from './lib/schedule.mjs';
import { countSyscalls, straceAvailable } from './lib/syscalls.mjs';
import { engines } from './engines/index.mjs';
import { works } from './works/index.mjs';

/** @typedef {import('./types.d.ts').Results} Results */

const say = (/** @type {string} */ line) => process.stderr.write(`bench: ${line}\n`);

/**
 * Removes what a killed run left behind.
 *
 * @param {string} dir
 */
function sweep(dir) {
  for (const name of fs.existsSync(dir) ? fs.readdirSync(dir) : []) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !fs.existsSync(`/proc/${pid}`)) fs.rmSync(join(dir, name), { recursive: true });
  }
}

/**
 * @param {import('./lib/schedule.mjs').Options} options
 * @returns {Promise<Results>}
 */
async function measure(options) {
  if (options.syscalls && !straceAvailable()) throw new Error('--syscalls needs strace');
  if (options.engines.some(({ role }) => role === 'peer')) ensurePeers(say);
  sweep(options.dir);
  const directory = join(options.dir, `run-${process.pid}`);
  await mkdir(directory, { recursive: true });
  const { rounds, sizes, seconds, retries } = options;
  /** @type {Results} */
  const results = {
    version: 1,
    started: new Date().toISOString(),
    machine: {},
    options: { rounds, sizes, seconds, retries },
    engines: {},
    absent: {},
    samples: [],
    noise: { cells: 0, repeated: 0, noisy: [] },
    syscalls: [],
  };
  const schedule = new Schedule(options, directory, results, say);
  const interrupted = () => {
    schedule.kill();
    fs.rmSync(directory, { recursive: true, force: true });
    process.exit(130);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    results.machine = describeMachine(directory);
    if (!fs.existsSync(new URL('../dist/index.js', import.meta.url))) {
      results.absent['strongroom'] = 'not built: run "npm run build" first';
      say('strongroom is not built, so only its peers are measured');
    }
    await schedule.run();
    if (options.syscalls) await traceAll(options, schedule, results);
  } finally {
    schedule.kill();
    await rm(directory, { recursive: true, force: true });
  }
  return results;
}

/**
 * @param {import('./lib/schedule.mjs').Options} options
 * @param {Schedule} schedule
 * @param {Results} results
 */
async function traceAll(options, schedule, results) {
  const traced = options.works.filter(({ syscalls }) => syscalls !== undefined);
  // Long enough that what is written now and then (space reserved ahead, checkpoints) counts for what it comes to a put.
  const budgetMs = options.seconds * 7000;
  for (const engine of options.engines) {
    if (engine.name in results.absent) continue;
    for (const n of options.sizes) {
      say(`counting system calls: ${engine.name}, N = ${n}`);
      const job = {
        engine: engine.name,
        n,
        directory: schedule.directoryOf(engine.name, n),
        seed: 1,
        budgetMs,
      };
      results.syscalls.push(...(await countSyscalls({ ...job, works: traced })));
    }
  }
}

async function main() {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) return void process.stdout.write(`${USAGE}\n`);
  if (options.list) {
    const lines = [
      ...works.map(({ name, title }) => `${name.padEnd(16)} ${title}`),
      '',
      ...engines.map(({ name, settings }) => `${name.padEnd(16)} ${settings}`),
    ];
    return void process.stdout.write(`${lines.join('\n')}\n`);
  }
  const results =
    options.render === undefined
      ? await measure(options)
      : /** @type {Results} */ (JSON.parse(await readFile(options.render, 'utf8')));
  process.stdout.write(terminalReport(results));
  if (options.render === undefined) {
    await mkdir(dirname(options.results), { recursive: true });
    await writeFile(options.results, `${JSON.stringify(results, null, 1)}\n`);
  }
  if (options.out !== undefined) await publish(results, options.out);
}

main().catch((/** @type {Error & { code?: string }} */ error) => {
  process.stderr.write(`bench: ${error.message}\n`);
  if (error.code?.startsWith('ERR_PARSE_ARGS') === true) process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
});
