/**
 * The interleaving. In every round each engine gets a fresh process per N; then, work by work and N by N, the engines
 * are measured one right after the other, in an order that moves on with the round. So the engines of one ratio ran
 * within seconds of each other: the speed of a shared CPU changes within minutes.
 *
 * A cell (work, N, round) in which the machine was not quiet is measured again, whole, up to `retries` times; the
 * quietest try is kept.
 */
import { join } from 'node:path';
import { sizesOf } from '../works/index.mjs';
import { EngineProcess } from './child.mjs';
import { isNoisy } from './load.mjs';
import { versionOf } from './peers.mjs';

/** @typedef {ReturnType<typeof import('./options.mjs').parseOptions>} Options */

/**
 * @template T
 * @param {T[]} list
 * @param {number} by
 */
const rotated = (list, by) => [...list.slice(by % list.length), ...list.slice(0, by % list.length)];

/** @param {import('../types.d.ts').Sample[]} samples */
const worstNoise = (samples) =>
  Math.max(0, ...samples.map(({ noise }) => Math.max(noise.others, 2 * noise.steal)));

export class Schedule {
  /** @type {EngineProcess[]} */ #processes = [];
  #options;
  #directory;
  #results;
  #say;

  /**
   * @param {Options} options
   * @param {string} directory of this run
   * @param {import('../types.d.ts').Results} results filled as the rounds go
   * @param {(line: string) => void} say
   */
  constructor(options, directory, results, say) {
    this.#options = options;
    this.#directory = directory;
    this.#results = results;
    this.#say = say;
  }

  /** Ends every process at once; for a run that is broken off. */
  kill() {
    for (const process of this.#processes) process.kill();
  }

  async run() {
    const { rounds, works, sizes } = this.#options;
    for (let round = 0; round < rounds; round++) {
      this.#say(`round ${round + 1} of ${rounds}: opening${round === 0 ? ' and loading' : ''}`);
      await this.#openAll(round);
      for (const work of works) {
        if (work.run === undefined) continue;
        for (const n of sizesOf(work, sizes)) {
          this.#say(`round ${round + 1} of ${rounds}: ${work.name}, N = ${n}`);
          await this.#cell(work, n, round);
        }
      }
      await this.#endAll();
    }
  }

  /** @param {number} round */
  async #openAll(round) {
    for (const engine of this.#options.engines) {
      for (const n of this.#options.sizes) {
        if (engine.name in this.#results.absent) continue;
        const process = new EngineProcess({ engine: engine.name, n });
        try {
          const directory = this.directoryOf(engine.name, n);
          const request = { type: 'open', engine: engine.name, directory, records: n, seed: round + 1 };
          const { crypto } = await process.ask(request);
          this.#processes.push(process);
          const { role, settings, authenticated } = engine;
          const version = role === 'limit' ? '' : versionOf(engine.package);
          this.#results.engines[engine.name] = { role, settings, authenticated, version, crypto };
        } catch (error) {
          process.kill();
          await this.#drop(engine.name, error);
        }
      }
    }
  }

  /**
   * Leaves an engine out from here on: the others are still worth comparing.
   *
   * @param {string} name
   * @param {unknown} error
   */
  async #drop(name, error) {
    const reason = error instanceof Error ? error.message : String(error);
    this.#results.absent[name] = reason.split('\n').slice(0, 3).join(' | ');
    this.#say(`${name} is left out: ${reason}`);
    for (const process of this.#processes.filter((candidate) => candidate.engine === name)) process.kill();
    this.#processes = this.#processes.filter((candidate) => candidate.engine !== name);
  }

  /**
   * @param {import('../types.d.ts').Work} work
   * @param {number} n
   * @param {number} round
   */
  async #cell(work, n, round) {
    const { noise, samples } = this.#results;
    noise.cells++;
    /** @type {import('../types.d.ts').Sample[] | undefined} */
    let kept;
    for (let attempt = 0; attempt <= this.#options.retries; attempt++) {
      if (attempt > 0) noise.repeated++;
      const tried = await this.#attempt(work, n, round);
      if (kept === undefined || worstNoise(tried) < worstNoise(kept)) kept = tried;
      if (!tried.some((sample) => isNoisy(sample.noise))) break;
    }
    if (kept?.some((sample) => isNoisy(sample.noise)))
      noise.noisy.push(`${work.name}, N = ${n}, round ${round + 1}`);
    samples.push(...(kept ?? []));
  }

  /**
   * @param {import('../types.d.ts').Work} work
   * @param {number} n
   * @param {number} round
   */
  async #attempt(work, n, round) {
    const budgetMs = this.#options.seconds * 1000;
    const request = { type: 'run', work: work.name, budgetMs, warmupMs: Math.min(budgetMs / 5, 150) };
    const processes = this.#processes.filter((process) => process.n === n);
    /** @type {import('../types.d.ts').Sample[]} */
    const samples = [];
    for (const process of rotated(processes, round)) {
      const { engine } = process;
      try {
        const { metrics, noise } = await process.ask(request);
        if (metrics !== null) samples.push({ work: work.name, n, round, engine, metrics, noise });
      } catch (error) {
        await this.#drop(engine, error);
      }
    }
    return samples;
  }

  async #endAll() {
    const processes = this.#processes;
    this.#processes = [];
    for (const process of processes) {
      await process.end().catch((/** @type {unknown} */ error) => this.#drop(process.engine, error));
    }
  }

  /**
   * @param {string} engine
   * @param {number} n
   */
  directoryOf(engine, n) {
    return join(this.#directory, `${engine}-${n}`);
  }
}
