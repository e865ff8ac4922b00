/** What the numbers were made on: CPU, memory, file system, the cost of one fdatasync, Node and its libraries. */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { median } from './stats.mjs';

const MEMORY_FILE_SYSTEMS = new Set(['tmpfs', 'ramfs']);
const SYNC_TRIES = 400;

/**
 * The mount that a directory lies on, from /proc/self/mounts.
 *
 * @param {string} directory
 */
function mountOf(directory) {
  const path = `${fs.realpathSync(directory)}/`;
  let best = { device: 'unknown', point: '', type: 'unknown', options: '' };
  for (const line of fs.readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [device, point, type, options] = line.split(' ');
    if (device === undefined || point === undefined || type === undefined || options === undefined) continue;
    const prefix = point.endsWith('/') ? point : `${point}/`;
    if (path.startsWith(prefix) && prefix.length >= best.point.length)
      best = { device, point: prefix, type, options };
  }
  return best;
}

/**
 * Median time of writing 4 KiB and calling fdatasync, in a file that is already allocated.
 *
 * @param {string} directory
 */
function fdatasyncCost(directory) {
  const path = join(directory, 'fdatasync-cost');
  const file = fs.openSync(path, 'w+', 0o600);
  const block = Buffer.alloc(4096, 1);
  try {
    for (let index = 0; index < SYNC_TRIES; index++)
      fs.writeSync(file, block, 0, block.length, index * block.length);
    fs.fsyncSync(file);
    const times = Array.from({ length: SYNC_TRIES }, (_, index) => {
      const start = performance.now();
      fs.writeSync(file, block, 0, block.length, index * block.length);
      fs.fdatasyncSync(file);
      return (performance.now() - start) * 1000;
    });
    return Math.round(median(times));
  } finally {
    fs.closeSync(file);
    fs.rmSync(path);
  }
}

/** @param {string} directory where the stores will lie */
export function describeMachine(directory) {
  const mount = mountOf(directory);
  if (MEMORY_FILE_SYSTEMS.has(mount.type)) {
    throw new Error(`${directory} is on ${mount.type}, where nothing is durable; choose a disk with --dir`);
  }
  const cpus = os.cpus();
  return {
    cpu: `${cpus.length} x ${cpus[0]?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    file_system: `${mount.type} on ${mount.device} (${mount.options})`,
    fdatasync_us: fdatasyncCost(directory),
    node: `${process.version} (OpenSSL ${process.versions.openssl})`,
  };
}
