#!/usr/bin/env node
/**
 * `warm-hsm`: a whole process of the command line on a store of 1,000 records whose root is in a PKCS#11 token, against the
 * same in software protection and the time that the module itself takes. The token is SoftHSM2, in a directory of its own;
 * OpenSC's pkcs11-spy, in runs of its own, writes down each call with its time.
 *
 *   node bench/warm-hsm.mjs [ROUNDS]      default 15, interleaved; medians
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 15);
const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(root, 'dist/cli/main.js');
const place = mkdtempSync(join(tmpdir(), 'strongroom-warm-hsm-'));
process.once('exit', () => {
  rmSync(place, { recursive: true, force: true });
});
const find = (/** @type {readonly string[]} */ paths, /** @type {string} */ what) => {
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${what} is missing: apt-get install softhsm2 opensc`);
  return found;
};
const softhsm = find(['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/pkcs11/libsofthsm2.so'], 'SoftHSM2');
const spy = find(
  [
    '/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so',
    '/usr/lib/aarch64-linux-gnu/pkcs11/pkcs11-spy.so',
    '/usr/lib/x86_64-linux-gnu/pkcs11-spy.so',
  ],
  'pkcs11-spy',
);
mkdirSync(join(place, 'tokens'));
writeFileSync(
  join(place, 'conf'),
  `directories.tokendir = ${place}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
);
writeFileSync(join(place, 'pin'), '1234');
process.env['SOFTHSM2_CONF'] = join(place, 'conf');
process.env['STRONGROOM_PREBUILD'] = root;
const calls = join(place, 'calls');
/** @type {NodeJS.ProcessEnv} */
const env = { ...process.env, PKCS11SPY: softhsm, PKCS11SPY_OUTPUT: calls };
delete env['STRONGROOM_PIN'];
delete env['STRONGROOM_PKCS11_MODULE'];

/**
 * One process, from its start to its end.
 *
 * @param {readonly string[]} args
 */
async function timed(args) {
  const begun = performance.now();
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`exit code ${String(code)}: ${args.join(' ')}`);
  return performance.now() - begun;
}

/** How many calls the spy wrote down. */
function spied() {
  const text = existsSync(calls) ? readFileSync(calls, 'utf8') : '';
  rmSync(calls, { force: true });
  return [...text.matchAll(/^\d+: C_\w+$/gm)].length;
}

const median = (/** @type {number[]} */ list) =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN;

const { listTokens, open, setUpToken } = await import(new URL('../dist/index.js', import.meta.url).href);
const [slot] = await listTokens({ module: softhsm });
const pin = Buffer.from('1234');
await setUpToken({
  module: softhsm,
  slotId: slot.slotId,
  label: 'bench',
  soPin: Buffer.from('12345678'),
  pin,
});
const software = join(place, 'software');
const hsm = join(place, 'hsm');
const token = { type: 'pkcs11', module: softhsm, token: 'bench', pin };
/** Milliseconds that the module takes for what a start and a close ask of it, in a process that is warm. */
const device = { reading: NaN, writing: NaN };
for (const { directory, instance, ...protector } of [
  { directory: software, instance: 'software', recovery: 'none' },
  { directory: hsm, instance: 'hsm', protector: token, recovery: 'none' },
]) {
  const options = {
    directory,
    instance,
    secretStore: { type: 'file', directory: join(place, `secrets-${instance}`) },
    ...protector,
  };
  const store = await open(options);
  await Promise.all(
    Array.from({ length: 1000 }, (_, i) =>
      store.vault.set(`record/${String(i).padStart(17, '0')}`, Buffer.alloc(256, i)),
    ),
  );
  await store.close();
  for (const kind of ['reading', 'writing']) {
    const list = [];
    for (let n = 0; n < 15; ++n) {
      const begun = performance.now();
      await (await open({ ...options, ...(kind === 'reading' && { readOnly: true }) })).close();
      list.push(performance.now() - begun);
    }
    const whole = median(list);
    if (instance === 'software') device[/** @type {'reading'} */ (kind)] = whole;
    else
      device[/** @type {'reading'} */ (kind)] = Math.max(0, whole - device[/** @type {'reading'} */ (kind)]);
  }
}

const reach = ['--module', softhsm, '--pin-file', join(place, 'pin')];
const spying = ['--module', spy, '--pin-file', join(place, 'pin')];
/** @type {Record<string, readonly string[]>} */
const works = {
  'node -e 0': ['-e', '0'],
  'warm, reading': [cli, 'get', software, 'record/00000000000000001'],
  'warm, writing': [cli, 'set', software, 'key', 'value'],
  'warm-hsm, reading': [cli, 'get', hsm, 'record/00000000000000001', ...reach],
  'warm-hsm, writing': [cli, 'set', hsm, 'key', 'value', ...reach],
};
/** @type {Record<string, number[]>} */
const times = Object.fromEntries(Object.keys(works).map((name) => [name, []]));
for (let round = 0; round <= rounds; ++round) {
  for (const [name, args] of Object.entries(works)) {
    const whole = await timed(args);
    if (round > 0) times[name]?.push(whole); // the first warms up
  }
}
/** @type {Record<string, number>} */
const counts = {};
for (const [kind, args] of Object.entries({
  reading: [cli, 'get', hsm, 'record/00000000000000001', ...spying],
  writing: [cli, 'set', hsm, 'key', 'value', ...spying],
})) {
  spied();
  await timed(args);
  counts[kind] = spied();
}

const at = (/** @type {string} */ name) => median(times[name] ?? []);
console.log(`SoftHSM2; Node ${process.versions.node}; ${rounds} rounds, medians in ms`);
for (const name of Object.keys(works)) console.log(`${name.padEnd(20)} ${at(name).toFixed(1).padStart(7)}`);
let failed = false;
for (const kind of /** @type {const} */ (['reading', 'writing'])) {
  console.log(`token, ${kind}: ${device[kind].toFixed(1)} ms in a warm process, ${counts[kind] ?? 0} calls`);
  const limit = at(`warm, ${kind}`) + device[kind];
  const ratio = at(`warm-hsm, ${kind}`) / limit;
  failed ||= ratio > 2;
  console.log(
    `warm-hsm, ${kind}: ${ratio.toFixed(2)} x (warm + token); bar 2, moonshot 1.3: ${ratio <= 1.3 ? 'moonshot' : ratio <= 2 ? 'met' : 'MISSED'}`,
  );
}
process.exit(failed ? 1 : 0);
