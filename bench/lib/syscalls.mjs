/**
 * Counts what a put costs the disk: the harness runs each engine once more under strace and counts, between two marks,
 * the syncs and the bytes written to files of the store's directory. Timings of such a run are not used.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { EngineProcess } from './child.mjs';

/** Paths that do not exist; looking for one leaves a line in the trace. */
export const MARK_BEGIN = '/strongroom-bench-mark/begin';
export const MARK_END = '/strongroom-bench-mark/end';

const SYNCS = ['fdatasync', 'fsync', 'sync_file_range', 'msync'];
const WRITES = ['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2'];
const MARKS = ['access', 'faccessat', 'faccessat2', 'stat', 'statx', 'newfstatat'];
const CALL = /^(?<pid>\d+) +(?:<\.\.\. )?(?<name>\w+)(?<resumed> resumed>)?(?<rest>.*)$/;

export const straceAvailable = () => spawnSync('strace', ['-V']).status === 0;

/**
 * @param {string} trace output of `strace -f -y -s 64`
 * @param {string} directory only calls on files below it count
 */
export function countCalls(trace, directory) {
  let inside = false;
  const counts = { syncs: 0, writes: 0, bytes: 0 };
  /** Calls that have begun in a thread and not yet returned. @type {Map<string, boolean>} */
  const ours = new Map();
  for (const line of trace.split('\n')) {
    if (line.includes(MARK_BEGIN)) inside = true;
    if (line.includes(MARK_END)) inside = false;
    const groups = CALL.exec(line)?.groups;
    if (groups === undefined || !inside) continue;
    const { pid = '', name = '', resumed, rest = '' } = groups;
    const mine =
      resumed === undefined ? rest.includes(`<${directory}`) || name === 'msync' : ours.get(pid) === true;
    if (rest.endsWith('<unfinished ...>')) {
      ours.set(pid, mine);
      continue;
    }
    ours.delete(pid);
    const result = Number(/ = (-?\d+)/.exec(rest)?.[1] ?? -1);
    if (!mine || result < 0) continue;
    if (SYNCS.includes(name)) counts.syncs++;
    else if (WRITES.includes(name)) {
      counts.writes++;
      counts.bytes += result;
    }
  }
  return counts;
}

/**
 * @param {{ engine: string, n: number, directory: string, works: import('../types.d.ts').Work[], seed: number, budgetMs: number }} job
 * @returns {Promise<import('../types.d.ts').SyscallCount[]>}
 */
export async function countSyscalls({ engine, n, directory, works, seed, budgetMs }) {
  const trace = join(directory, '..', `${engine}-${n}.strace`);
  const filter = `trace=${[...SYNCS, ...WRITES, ...MARKS.map((mark) => `?${mark}`)].join(',')}`;
  /** @type {import('../types.d.ts').SyscallCount[]} */
  const counts = [];
  for (const work of works) {
    const child = new EngineProcess({ engine, n }, [
      'strace',
      '-f',
      '-y',
      '-s',
      '64',
      '-e',
      filter,
      '-o',
      trace,
    ]);
    try {
      await child.ask({ type: 'open', engine, directory, records: n, seed });
      const { metrics } = await child.ask({
        type: 'run',
        work: work.name,
        budgetMs,
        warmupMs: 0,
        traced: true,
      });
      await child.end();
      if (metrics === null) continue;
      const { syncs, writes, bytes } = countCalls(fs.readFileSync(trace, 'utf8'), directory);
      const puts = metrics.ops;
      counts.push({
        work: work.name,
        n,
        engine,
        puts,
        syncs_per_put: syncs / puts,
        bytes_per_put: bytes / puts,
        writes_per_put: writes / puts,
      });
    } finally {
      child.kill();
      fs.rmSync(trace, { force: true });
    }
  }
  return counts;
}
