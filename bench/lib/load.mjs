/**
 * How much of the machine others used while something was measured, from /proc/stat.
 *
 * Kernel threads are not "others": they do the measured engine's disk writes. Time of interrupts is left out for the
 * same reason.
 */
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const TICK_MS = 10;
/** Below this many ticks of foreign work a share means nothing: the counters move in steps of 10 ms. */
const MIN_TICKS = 4;

function kernelThreadTicks() {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[1] === '2' || entry === '2') ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // The process has ended since it was listed.
    }
  }
  return ticks;
}

/** A point to measure from; take it outside the timed part, it costs a few milliseconds. */
export function loadMark() {
  const line = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0] ?? '';
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const own = process.cpuUsage();
  return {
    total: user + nice + system + idle + iowait + irq + softirq + steal,
    busy: user + nice + system - kernelThreadTicks(),
    steal,
    own: (own.user + own.system) / 1000 / TICK_MS,
  };
}

/**
 * @param {ReturnType<typeof loadMark>} before
 * @returns {import('../types.d.ts').Noise} shares of the whole machine, 0 to 1
 */
export function noiseSince(before) {
  const after = loadMark();
  const total = Math.max(after.total - before.total, 1);
  const others = after.busy - before.busy - (after.own - before.own);
  const steal = after.steal - before.steal;
  return { others: others < MIN_TICKS ? 0 : others / total, steal: steal < MIN_TICKS ? 0 : steal / total };
}

/** @param {import('../types.d.ts').Noise} noise */
export const isNoisy = (noise) => noise.others > 0.1 || noise.steal > 0.05;

/**
 * Waits until this process is idle, so that background work (compaction, checkpoints) is not charged to the next
 * engine. Gives up after `limitMs`.
 */
export async function settle(limitMs = 2000) {
  const step = 25;
  for (let waited = 0; waited < limitMs; waited += step) {
    const before = process.cpuUsage();
    await sleep(step);
    const used = process.cpuUsage(before);
    if (used.user + used.system < step * 1000 * 0.1) return;
  }
}
