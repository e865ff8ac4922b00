#!/usr/bin/env node
/**
 * `warm-tpm`: a whole process of the command line on a store of 1,000 records whose root is in a TPM, against the same in
 * software protection and the time that the device itself takes. The swtpm is started here, on sockets of its own; a relay
 * before it, in runs of their own, times each command from its last byte to the answer's.
 *
 *   node bench/warm-tpm.mjs [ROUNDS]      default 15, interleaved; medians
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 15);
const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(root, 'dist/cli/main.js');
const place = mkdtempSync(join(tmpdir(), 'strongroom-warm-tpm-'));
const socket = join(place, 's');
const env = { ...process.env, STRONGROOM_PREBUILD: root };
delete (/** @type {NodeJS.ProcessEnv} */ (env)['STRONGROOM_PIN']);

const sockets = ['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`];
const swtpm = spawn(
  'swtpm',
  ['socket', '--tpm2', '--tpmstate', `dir=${place}`, ...sockets, '--flags', 'not-need-init,startup-clear'],
  { stdio: 'ignore' },
);
process.once('exit', () => {
  swtpm.kill('SIGKILL');
  rmSync(place, { recursive: true, force: true });
});

/** @param {string} path */
async function listening(path) {
  for (let tries = 0; tries < 1000; ++tries) {
    const client = connect(path);
    const there = await once(client, 'connect').then(
      () => true,
      () => false,
    );
    client.destroy();
    if (there) return;
    await wait(5);
  }
  throw new Error('no swtpm: apt-get install swtpm');
}

/** Milliseconds that the device took, and how many commands, since the last look. */
let device = { ms: 0, commands: 0 };

/** @param {string} path */
async function relay(path) {
  for (const channel of ['', '.ctrl']) {
    const server = createServer((client) => {
      const target = connect(`${socket}${channel}`);
      let asked = 0;
      client.on('data', (chunk) => {
        asked = performance.now();
        target.write(chunk);
      });
      target.on('data', (chunk) => {
        if (channel === '' && asked !== 0) {
          device.ms += performance.now() - asked;
          device.commands += 1;
          asked = 0;
        }
        client.write(chunk);
      });
      for (const [from, to] of [
        [client, target],
        [target, client],
      ]) {
        from?.on('end', () => to?.end()).on('error', () => to?.destroy());
      }
    }).listen(`${path}${channel}`);
    server.unref();
    await once(server, 'listening');
  }
}

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

const median = (/** @type {number[]} */ list) =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN;

await listening(socket);
await relay(join(place, 'relay'));
const { open } = await import(new URL('../dist/index.js', import.meta.url).href);
process.env['STRONGROOM_PREBUILD'] = root;
const software = join(place, 'software');
const tpm = join(place, 'tpm');
/** @type {[string, object][]} */
const stores = [
  [software, { secretStore: { type: 'file', directory: join(place, 'secrets') }, recovery: 'none' }],
  [tpm, { protector: { type: 'tpm', tcti: `swtpm:path=${socket}` }, recovery: 'none' }],
];
for (const [directory, protector] of stores) {
  const store = await open({ directory, ...protector });
  await Promise.all(
    Array.from({ length: 1000 }, (_, i) =>
      store.vault.set(`record/${String(i).padStart(17, '0')}`, Buffer.alloc(256, i)),
    ),
  );
  await store.close();
}

const viaRelay = ['--tcti', `swtpm:path=${join(place, 'relay')}`];
/** @type {Record<string, readonly string[]>} */
const works = {
  'node -e 0': ['-e', '0'],
  'warm, reading': [cli, 'get', software, 'record/00000000000000001'],
  'warm, writing': [cli, 'set', software, 'key', 'value'],
  'warm-tpm, reading': [cli, 'get', tpm, 'record/00000000000000001'],
  'warm-tpm, writing': [cli, 'set', tpm, 'key', 'value'],
  'device, reading': [cli, 'get', tpm, 'record/00000000000000001', ...viaRelay],
  'device, writing': [cli, 'set', tpm, 'key', 'value', ...viaRelay],
};
/** @type {Record<string, number[]>} */
const times = Object.fromEntries(Object.keys(works).map((name) => [name, []]));
/** @type {Record<string, number>} */
const commands = {};
for (let round = 0; round <= rounds; ++round) {
  for (const [name, args] of Object.entries(works)) {
    device = { ms: 0, commands: 0 };
    const whole = await timed(args);
    if (round === 0) continue; // warms up
    times[name]?.push(name.startsWith('device') ? device.ms : whole);
    commands[name] = device.commands;
  }
}

const at = (/** @type {string} */ name) => median(times[name] ?? []);
const version = execFileSync('swtpm', ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
console.log(`${version}; Node ${process.versions.node}; ${rounds} rounds, medians in ms`);
for (const name of Object.keys(works)) {
  const count = commands[name] ? `  ${commands[name]} commands` : '';
  console.log(`${name.padEnd(20)} ${at(name).toFixed(1).padStart(7)}${count}`);
}
let failed = false;
for (const kind of ['reading', 'writing']) {
  const limit = at(`warm, ${kind}`) + at(`device, ${kind}`);
  const ratio = at(`warm-tpm, ${kind}`) / limit;
  failed ||= ratio > 2;
  console.log(
    `warm-tpm, ${kind}: ${ratio.toFixed(2)} x (warm + device); bar 2, moonshot 1.3: ${ratio <= 1.3 ? 'moonshot' : ratio <= 2 ? 'met' : 'MISSED'}`,
  );
}
process.exit(failed ? 1 : 0);
