#!/usr/bin/env node
/**
 * Anchors on a swtpm of its own: `witnessed` commits one after the other, which are an anchor each, and 64 in flight, which share
 * them. With a second checkout the two are interleaved.
 *
 *   node bench/anchors-tpm.mjs [ROUNDS [CHECKOUT]]      default 5; medians; CHECKOUT is a built one of another release
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const own = fileURLToPath(new URL('..', import.meta.url));
const anchors = 300;
const groups = 60;
const inFlight = 64;

/** @param {string} path */
async function listening(path) {
  for (;;) {
    const reached = await new Promise((done) => {
      const socket = createConnection(path, () => {
        socket.destroy();
        done(true);
      });
      socket.once('error', () => {
        done(false);
      });
    });
    if (reached) return;
    await wait(10);
  }
}

/**
 * In a process of its own: anchors a second, and `witnessed` commits a second with 64 in flight.
 * @param {string} checkout
 */
async function measure(checkout) {
  const place = mkdtempSync(join(tmpdir(), 'strongroom-anchors-'));
  const socket = join(place, 's');
  const swtpm = spawn(
    'swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${place}`, '--server', `type=unixio,path=${socket}`],
      ...['--ctrl', `type=unixio,path=${socket}.ctrl`, '--flags', 'not-need-init,startup-clear'],
    ],
    { stdio: 'ignore' },
  );
  try {
    await listening(`${socket}.ctrl`);
    const strongroom = /** @type {typeof import('../dist/index.js')} */ (
      await import(pathToFileURL(join(checkout, 'dist/index.js')).href)
    );
    // Releases without permits call the option by its old name.
    const protector = 'signPermit' in strongroom ? 'protector' : 'storage';
    const options = /** @type {import('../dist/index.js').OpenOptions} */ ({
      directory: join(place, 'store'),
      [protector]: { type: 'tpm', tcti: `swtpm:path=${socket}` },
      recovery: 'none',
    });
    const store = await strongroom.open(options);
    const value = Buffer.alloc(inFlight);
    /** @param {number} i */
    const set = (i) => store.vault.set(`key/${i}`, value, { durability: 'witnessed' });
    await set(0);
    let began = performance.now();
    for (let i = 0; i < anchors; ++i) await set(0);
    const one = (anchors * 1000) / (performance.now() - began);
    began = performance.now();
    for (let i = 0; i < groups; ++i)
      await Promise.all(Array.from({ length: inFlight }, (_, key) => set(key)));
    const many = (groups * inFlight * 1000) / (performance.now() - began);
    await store.close();
    return { one, many };
  } finally {
    swtpm.kill('SIGKILL');
    rmSync(place, { recursive: true, force: true });
  }
}

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

const [first, second] = process.argv.slice(2);
if (first === '--measure') {
  process.stdout.write(JSON.stringify(await measure(second ?? own)));
} else {
  const rounds = Number(first ?? 5);
  const checkouts = second === undefined ? [own] : [resolve(second), own];
  /** @type {Map<string, { one: number, many: number }[]>} */
  const found = new Map(checkouts.map((checkout) => [checkout, []]));
  for (let round = 0; round < rounds; ++round) {
    for (const checkout of checkouts) {
      const env = { ...process.env, STRONGROOM_PREBUILD: checkout };
      const out = execFileSync(process.execPath, [fileURLToPath(import.meta.url), '--measure', checkout], {
        env,
      });
      found.get(checkout)?.push(/** @type {{ one: number, many: number }} */ (JSON.parse(out.toString())));
    }
  }
  for (const [checkout, results] of found) {
    const one = median(results.map((result) => result.one)).toFixed(0);
    const many = median(results.map((result) => result.many)).toFixed(0);
    console.log(`${checkout}: ${one} anchors/s, ${many} witnessed commits/s with ${inFlight} in flight`);
  }
}
