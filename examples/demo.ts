// What strongroom is for, in a minute: a store starts cold, takes 10,000 licence records, loses nothing to kill -9, and
// refuses to start when a byte was changed or an older copy put in its place. Run it with ./scripts/demo.
//
// Everything happens in a temporary directory, which is removed at the end. The exit status is 1 when anything is not as
// it must be.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, open as openFile, readdir, readFile, rm, stat } from 'node:fs/promises';
import { rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';

import { isPersistenceError, libraryVersion, open, reanchor, type OpenOptions } from 'strongroom';

const records = 10_000;
const killAfter = 4_000;
const inFlight = 64;
const password = Buffer.from('a backup password for the demonstration');

const [role, given] = process.argv.slice(2);

function optionsIn(directory: string): OpenOptions {
  return {
    directory: join(directory, 'persistence'),
    instance: 'acme-licensing',
    protector: { type: 'software' },
    secretStore: { type: 'file', directory: join(directory, 'secrets') },
  };
}

function record(index: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      feature: `cad-${index % 12}`,
      seat: index,
      user: `user-${(index * 7919) % 5000}@example.com`,
      host: `ws-${index % 731}`,
      checkedOutUtc: new Date(1_790_000_000_000 + index * 1000).toISOString(),
    }),
  );
}

// --- The process that is killed: it writes for ever and names each record as soon as it is durable ---

function announce(line: string): void {
  const bytes = Buffer.from(line);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      // The pipe is full until the parent reads.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

async function writeUntilKilled(directory: string): Promise<void> {
  const { vault } = await open(optionsIn(directory));
  let next = 0;
  const writer = async (): Promise<void> => {
    for (;;) {
      const index = next++;
      await vault.set(`sessions/${String(index).padStart(6, '0')}`, record(index));
      announce(`${index}\n`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, writer));
}

// --- The demonstration ---

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';
const colours =
  process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
const paint = (style: Style, text: string): string => (colours ? styleText(style, text) : text);
const count = (number: number): string => number.toLocaleString('en');
const timings: { what: string; ms: number; note: string }[] = [];

function title(text: string): void {
  console.log(`\n${paint('bold', text)}`);
}
function say(label: string, text: string): void {
  console.log(`   ${paint('dim', label.padEnd(13))}${text}`);
}
function must(holds: boolean, claim: string): void {
  if (!holds) throw new Error(`This must hold and does not: ${claim}`);
  console.log(`   ${paint('green', 'ok')} ${claim}`);
}

async function timed<T>(
  what: string,
  work: () => Promise<T>,
  note: (ms: number) => string = () => '',
): Promise<T> {
  const start = performance.now();
  const result = await work();
  const ms = performance.now() - start;
  timings.push({ what, ms, note: note(ms) });
  return result;
}

/** The start must be refused for this reason; shows what an operator would see. */
async function refused(what: string, reason: string, work: () => Promise<unknown>): Promise<void> {
  const error = await timed(what, () =>
    work().then(
      () => undefined,
      (thrown: unknown) => thrown,
    ),
  );
  must(error !== undefined, 'it was refused');
  if (!isPersistenceError(error)) throw error;
  say('code', paint('red', error.code));
  say('reason', paint('red', error.reason));
  say('message', error.message);
  say('remedy', error.remedy);
  must(error.code === 'PERS_8003' && error.reason === reason, `the code is PERS_8003, the reason ${reason}`);
}

async function contents(directory: string): Promise<Map<string, Buffer>> {
  const names = (await readdir(directory, { recursive: true })).sort();
  const files = new Map<string, Buffer>();
  for (const name of names) {
    const path = join(directory, name);
    if ((await stat(path)).isFile() && !name.endsWith('/lock')) files.set(name, await readFile(path));
  }
  return files;
}
function same(a: ReadonlyMap<string, Buffer>, b: ReadonlyMap<string, Buffer>): boolean {
  return a.size === b.size && [...a].every(([name, bytes]) => b.get(name)?.equals(bytes) === true);
}

async function flipByte(path: string, offset: number): Promise<void> {
  const file = await openFile(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte.writeUInt8(byte.readUInt8() ^ 0x01);
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}

interface Place {
  readonly directory: string;
  readonly files: string;
  readonly vaultFile: string;
  readonly options: OpenOptions;
}
type Store = Awaited<ReturnType<typeof open>>;

async function coldStart({ directory, files, options }: Place): Promise<Store> {
  title('1. Cold start');
  const first = await timed('cold start, with a backup password', () =>
    open({ ...options, recovery: { password } }),
  );
  must(first.startup === 'COLDSTART', 'an empty directory became a store');
  say('files', [...(await readdir(files))].sort().join('  '));
  say('SecretStore', [...(await readdir(join(directory, 'secrets')))].sort().join('  '));
  return first;
}

async function writeRecords({ vaultFile }: Place, store: Store): Promise<void> {
  title(`2. ${count(records)} licence records`);
  const { vault } = store;
  await timed(
    `${count(records)} records, ${inFlight} in flight`,
    async () => {
      let next = 0;
      const writer = async (): Promise<void> => {
        while (next < records) {
          const index = next++;
          await vault.set(`seats/${String(index).padStart(6, '0')}`, record(index));
        }
      };
      await Promise.all(Array.from({ length: inFlight }, writer));
    },
    (ms) => `${count(Math.round((records / ms) * 1000))} durable writes/s`,
  );
  await vault.increment('tokens/cad', 1_000n, { durability: 'witnessed' });
  say('rate', timings.at(-1)?.note ?? '');
  must([...vault.keys({ prefix: 'seats/' })].length === records, 'every record is there');
  say('vault.bin', `${count((await stat(vaultFile)).size)} bytes`);
  must(!(await readFile(vaultFile)).includes('example.com'), 'none of it is readable in the file');
  await timed('close', () => store.close());
}

/** The numbers of the records that the killed process had named. */
async function killWriter({ directory }: Place): Promise<number[]> {
  title('3. kill -9 while another process writes');
  const child = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), 'writer', directory],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = new Promise<string>((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? `status ${code}`));
  });
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === killAfter) child.kill('SIGKILL');
  }
  const end = await ended;
  must(
    end === 'SIGKILL',
    `process ${child.pid} was killed after ${count(acknowledged.length)} acknowledged writes`,
  );
  return acknowledged;
}

async function warmStart({ options }: Place, acknowledged: readonly number[]): Promise<void> {
  title('4. Warm start');
  const second = await timed('warm start after kill -9', () => open(options));
  const sessions = [...second.vault.keys({ prefix: 'sessions/' })];
  must(second.startup === 'WARMSTART', 'the store opened, and raised no alarm');
  const lost = acknowledged.filter(
    (index) => second.vault.get(`sessions/${String(index).padStart(6, '0')}`)?.equals(record(index)) !== true,
  );
  must(lost.length === 0, `all ${count(acknowledged.length)} acknowledged writes are there`);
  say('besides', `${sessions.length - acknowledged.length} that were on their way`);
  must(
    [...second.vault.keys({ prefix: 'seats/' })].length === records,
    `and the ${count(records)} from before`,
  );
  await second.close();
}

async function changeByte({ directory, vaultFile, options }: Place): Promise<void> {
  title('5. One bit of vault.bin is changed');
  const offset = Math.floor((await stat(vaultFile)).size / 2);
  await flipByte(vaultFile, offset);
  say('changed', `the lowest bit of byte ${count(offset)}`);
  const tampered = await contents(directory);
  await refused('refusal of a changed byte', 'vault-tampered', () => open(options));
  must(same(tampered, await contents(directory)), 'the refused start changed no file and no secret');
  await flipByte(vaultFile, offset);
  const third = await timed('warm start with the byte put back', () => open(options));
  must(third.startup === 'WARMSTART', 'with the byte put back the store opens');
  await third.close();
}

async function putBack({ directory, files }: Place): Promise<void> {
  await rm(files, { recursive: true });
  await cp(join(directory, 'backup'), files, { recursive: true });
}

async function putOlderCopy(place: Place): Promise<void> {
  const { directory, files, options } = place;
  title('6. An older copy is put in place');
  await cp(files, join(directory, 'backup'), { recursive: true });
  const fourth = await open(options);
  const left = await fourth.vault.increment('tokens/cad', -900n, { min: 0n });
  await fourth.close();
  say('meanwhile', `900 of 1,000 tokens are used, ${left} are left; then the older files come back`);
  await putBack(place);
  await refused('refusal of an older copy', 'vault-rolled-back', () => open(options));
}

async function acceptOlderCopy(place: Place): Promise<void> {
  const { options } = place;
  title('7. A legitimate restore: reanchor, with the backup password');
  const wrong = Buffer.from('not the backup password');
  const guess = await reanchor({ ...options, credential: { password: wrong } }).catch(
    (error: unknown) => error,
  );
  must(isPersistenceError(guess) && guess.reason === 'password-wrong', 'a wrong password is refused');
  const fifth = await timed('reanchor (Argon2id, 64 MiB)', () =>
    reanchor({ ...options, credential: { password } }),
  );
  const tokens = fifth.vault.get('tokens/cad')?.readBigInt64BE();
  must(tokens === 1_000n, 'the restored state is accepted: 1,000 tokens again');
  const log = await fifth.auditLog(4);
  must(
    log.some(({ operation }) => operation === 'reanchor'),
    `and the audit log says so: ${log.map(({ operation }) => operation).join(', ')}`,
  );
  const report = await timed('verify: everything read again', () => fifth.verify());
  say('verified', `${count(report.commits)} commits, ${count(report.records)} records`);
  await fifth.close();
  await putBack(place);
  const again = await reanchor({ ...options, credential: { password } }).catch((error: unknown) => error);
  must(
    isPersistenceError(again) && again.reason === 'already-accepted',
    'the same copy cannot be accepted a second time',
  );
}

function printTimings(): void {
  title('Timings');
  const width = Math.max(...timings.map(({ what }) => what.length));
  for (const { what, ms, note } of timings) {
    console.log(`   ${what.padEnd(width)}  ${ms.toFixed(1).padStart(8)} ms  ${paint('dim', note)}`.trimEnd());
  }
  console.log();
}

async function demonstrate(directory: string): Promise<void> {
  const files = join(directory, 'persistence');
  const place = { directory, files, vaultFile: join(files, 'vault.bin'), options: optionsIn(directory) };

  console.log(`strongroom, software protection, ${libraryVersion()}, Node.js ${process.versions.node}`);
  console.log(paint('dim', `in ${directory}`));

  const store = await coldStart(place);
  await writeRecords(place, store);
  const acknowledged = await killWriter(place);
  await warmStart(place, acknowledged);
  await changeByte(place);
  await putOlderCopy(place);
  await acceptOlderCopy(place);
  printTimings();
}

if (role === 'writer' && given !== undefined) {
  await writeUntilKilled(given);
} else {
  const directory = await mkdtemp(join(tmpdir(), 'strongroom-demo-'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      rmSync(directory, { recursive: true, force: true });
      process.exit(1);
    });
  }
  try {
    await demonstrate(directory);
    console.log(paint('green', 'Everything is as it must be.'));
  } catch (error) {
    console.error(
      `\n${paint('red', 'FAILED')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    process.exitCode = 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
