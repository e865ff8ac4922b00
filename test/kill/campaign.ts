// The kill campaign: a process writes, SIGKILL ends it at a moment that a seed decides, the next process tells what it
// found, and that is compared with what was acknowledged.
//
// What must hold after each kill
// - The store opens: WARMSTART, or COLDSTART as long as no start was ever completed. PERS_8003 is a false alarm.
// - The core commits in the order of submission, so the state is that after the first k operations for some k; nothing
//   else passes, so a batch is whole or absent and counters add up. k covers every acknowledged operation.
// - Each answer that was acknowledged is the one that the operation had to give.
// - With a TPM, which is killed in turns after the process, before it and together with it: the same, and no state of the
//   TPM or of its counter stops the next start.
// - The password slot takes the last acknowledged password, or the one that was about to be set; never none.
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

import { Swtpm } from '../support/swtpm.js';
import { Model, mixSeeds, Operations, Random } from './operations.js';
import type { OpenReport, WorkerConfig } from './worker.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const inFlight = 64;
/** A store is left after so many rounds, and a new one started cold. */
const roundsPerStore = 25;

export interface CampaignOptions {
  readonly seed: number;
  /** Ends after so many kills, */
  readonly kills: number;
  /** or at this time, performance.now(). */
  readonly untilMs?: number;
  /** Stores that are killed side by side. */
  readonly stores: number;
  /** The root is in a swtpm, each store's own, and every fourth operation is witnessed. */
  readonly tpm?: boolean;
  /** The root key is wrapped by the key service at this address. */
  readonly keyService?: string;
  readonly onProgress?: (totals: Totals) => void;
}

export interface Totals {
  readonly seed: number;
  kills: number;
  /** Kills by what the process was about. */
  readonly moments: Record<Moment, number>;
  /** With a TPM: kills by what went first. */
  readonly orders: Record<Order, number>;
  /** Operations that were durable and not witnessed, because the TPM was gone. */
  unwitnessed: number;
  acknowledged: number;
  falseAlarms: number;
  acknowledgedLost: number;
  coldstarts: number;
  warmstarts: number;
  tailsRepaired: number;
  verified: number;
  compacted: number;
  /** Everything else that must not be. */
  readonly faults: string[];
}

const orders = ['node first', 'swtpm first', 'both'] as const;
type Order = (typeof orders)[number];

/** The one line that names the figures. */
export function summary(totals: Totals): string {
  const { kills, acknowledged, falseAlarms, acknowledgedLost } = totals;
  return `kill: kills=${kills} acknowledged=${acknowledged} false alarms=${falseAlarms} acknowledged lost=${acknowledgedLost}`;
}

export function details(totals: Totals): string {
  const moments = Object.entries(totals.moments).map(([moment, count]) => `${moment} ${count}`);
  const first = Object.entries(totals.orders).map(([order, count]) => `${order} ${count}`);
  const tpm =
    totals.orders.both > 0 ? `; ${first.join(', ')}; durable without TPM ${totals.unwitnessed}` : '';
  return (
    `kill: seed=${totals.seed} coldstarts=${totals.coldstarts} warmstarts=${totals.warmstarts} ` +
    `torn tails cut=${totals.tailsRepaired} verified=${totals.verified}, ${totals.compacted} after a compaction; kills during ${moments.join(', ')}${tpm}`
  );
}

/** The worker and the library in one file, which starts in a third of the time that a loader needs. */
async function compileWorker(): Promise<string> {
  const place = join(root, `build/kill-worker/${process.pid}`);
  process.once('exit', () => {
    rmSync(place, { recursive: true, force: true });
  });
  await mkdir(place, { recursive: true });
  await copyFile(join(root, 'package.json'), join(place, 'package.json'));
  const outfile = join(place, 'dist/worker.js');
  await build({
    entryPoints: [fileURLToPath(new URL('worker.ts', import.meta.url))],
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outfile,
  });
  return outfile;
}

/** When to kill: so many milliseconds after the count-th line that fits. */
interface Trigger {
  readonly moment: Moment;
  readonly fits: (line: string) => boolean;
  readonly count: number;
  readonly delayMs: number;
}

const moments = ['coldstart', 'open', 'load', 'anchor', 'password', 'close'] as const;
type Moment = (typeof moments)[number];

/** Of 100 kills of a store that was opened, where those at each moment begin. */
const shares = { open: 0, anchor: 28, password: 40, close: 52, load: 64 } as const;

/** `startMs`: about how long a start takes. `missed`: a moment that chance has left out so far. */
function chooseTrigger(
  random: Random,
  everOpened: boolean,
  round: number,
  startMs: number,
  missed: keyof typeof shares | undefined,
): Trigger {
  const event = (moment: Moment, name: string, delayMs: number): Trigger => ({
    moment,
    fits: (line) => line.startsWith(`{"event":"${name}"`),
    count: 1,
    delayMs,
  });
  // Later each time, so that the whole of a COLDSTART is covered and it comes to its end.
  if (!everOpened)
    return event('coldstart', 'begin', random.below(Math.round(startMs * (0.7 + 0.5 * round))));
  const kind = missed === undefined ? random.below(100) : shares[missed];
  if (kind < 18) return event('open', 'begin', random.below(startMs));
  if (kind < shares.anchor) return event('open', 'open', random.below(4));
  if (kind < shares.password)
    return { ...event('anchor', 'anchor', random.below(4)), count: random.within(1, 4) };
  if (kind < shares.close) return event('password', 'password', random.below(12));
  if (kind < shares.load) return event('close', 'close', random.below(12));
  const count = random.within(1, random.pick([8, 200, 2500]));
  return { moment: 'load', fits: (line) => line.startsWith('a '), count, delayMs: random.below(4) };
}

class KilledStore {
  readonly #directory: string;
  readonly #worker: string;
  readonly #totals: Totals;
  readonly #seed: number;
  readonly #tpm: Swtpm | undefined;
  readonly #keyService: string | undefined;
  #round = 0;
  #everOpened = false;
  #model = new Model();
  /** What the last process may have done since: its seed, and what it acknowledged, by index. */
  #pending: { seed: number; answers: Map<number, string> } | undefined;
  #password = 'first password';
  #passwordNext: string | undefined;
  #generation = 0;
  #base = 0;

  constructor(
    directory: string,
    worker: string,
    totals: Totals,
    seed: number,
    { tpm, keyService }: { readonly tpm?: Swtpm | undefined; readonly keyService?: string | undefined },
  ) {
    this.#tpm = tpm;
    this.#keyService = keyService;
    this.#directory = directory;
    this.#worker = worker;
    this.#totals = totals;
    this.#seed = seed;
  }

  /** One process. False: what followed cannot be judged any more. */
  async round(kill: boolean, missed?: keyof typeof shares): Promise<boolean> {
    const seed = mixSeeds(this.#seed, this.#round);
    const random = new Random(seed);
    const trigger = kill
      ? chooseTrigger(random, this.#everOpened, this.#round, this.#startMs, missed)
      : undefined;
    const config: WorkerConfig = {
      directory: join(this.#directory, 'store'),
      root: this.#tpm
        ? { tcti: this.#tpm.tcti }
        : {
            secrets: join(this.#directory, 'secrets'),
            ...(this.#keyService !== undefined && { keyService: this.#keyService }),
          },
      witnessedOneIn: this.#witnessedOneIn,
      seed: random.next(),
      passwords: [this.#password, ...(this.#passwordNext === undefined ? [] : [this.#passwordNext])],
      verify: !kill || random.below(8) === 0,
      ...(trigger?.moment === 'password' && {
        changePassword: { to: `backup password ${this.#round}`, after: random.within(1, 400) },
      }),
      ...(trigger?.moment === 'anchor' && { anchorEach: random.within(1, 150) }),
      ...(trigger?.moment === 'close' && { closeAfter: random.within(1, 600) }),
      ...(!kill && { closeAfter: 200 }),
    };
    const order = kill && this.#tpm ? orders[this.#round % orders.length] : undefined;
    const run = await this.#run(config, trigger, order, random.below(30));
    if (order !== undefined) {
      this.#totals.orders[order]++;
      await this.#tpm?.restart();
    }
    this.#round++;
    const faultsBefore = this.#totals.faults.length;
    this.#judge(config, trigger, run);
    return this.#totals.faults.length === faultsBefore;
  }

  /** About how long a start takes. */
  get #startMs(): number {
    return this.#tpm !== undefined || this.#keyService !== undefined ? 250 : 60;
  }

  /** With a TPM, witnessed load; otherwise such commits wait for three replaced files, and a few among many will do. */
  get #witnessedOneIn(): number {
    return this.#tpm ? 4 : 50;
  }

  async #run(
    config: WorkerConfig,
    trigger: Trigger | undefined,
    order: Order | undefined,
    betweenMs: number,
  ): Promise<Run> {
    const child: ChildProcess = spawn(process.execPath, [this.#worker], {
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      env: { STRONGROOM_PREBUILD: root },
    });
    const ended = new Promise<NodeJS.Signals | number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(signal ?? code));
    });
    let complaints = '';
    child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
    child.stdin?.end(JSON.stringify(config));
    const lines: string[] = [];
    let wanted = trigger?.count ?? 0;
    let killing: Promise<void> | undefined;
    const kill = async (afterMs: number): Promise<void> => {
      if (afterMs > 0) await delay(afterMs);
      if (order === 'swtpm first') {
        await this.#tpm?.kill();
        await delay(betweenMs);
      }
      child.kill('SIGKILL');
      if (order === 'both') await this.#tpm?.kill();
    };
    for await (const line of createInterface({ input: child.stdio[3] as NodeJS.ReadableStream })) {
      lines.push(line);
      if (trigger === undefined || killing !== undefined || !trigger.fits(line) || --wanted > 0) continue;
      killing = kill(trigger.delayMs);
    }
    const end = await ended;
    await killing;
    return { end, lines, complaints };
  }

  #judge(config: WorkerConfig, trigger: Trigger | undefined, { end, lines, complaints }: Run): void {
    const totals = this.#totals;
    const where = `seed ${totals.seed}, ${this.#directory}, round ${this.#round}, ${trigger?.moment ?? 'no kill'}`;
    const fail = (what: string): void => {
      totals.faults.push(`${where}: ${what}`);
    };
    if (end === 'SIGKILL' && trigger !== undefined) {
      totals.kills++;
      totals.moments[trigger.moment]++;
    } else if (end !== 0) {
      fail(`the process ended with ${String(end)} ${complaints}`);
    }

    const answers = new Map<number, string>();
    const submitted = { seed: config.seed, answers };
    let opened = false;
    for (const line of lines) {
      if (line.startsWith('a ')) {
        const [, index, answer = ''] = line.split(' ');
        answers.set(Number(index), answer);
        totals.acknowledged++;
        if (answer === '?') totals.unwitnessed++;
        continue;
      }
      const event = JSON.parse(line) as { event: string; code?: string; reason?: string };
      if (event.event === 'fault') {
        if (event.code === 'PERS_8003') totals.falseAlarms++;
        fail(line);
      } else if (event.event === 'open') {
        opened = true;
        this.#judgeOpen(event as unknown as OpenReport, fail);
        if (config.verify) totals.verified++;
      } else if (event.event === 'password') {
        this.#passwordNext = config.changePassword?.to;
      } else if (event.event === 'password-changed') {
        this.#password = this.#passwordNext!;
        this.#passwordNext = undefined;
      }
    }
    this.#pending = opened ? submitted : this.#pending;
  }

  #judgeOpen(report: OpenReport, fail: (what: string) => void): void {
    const totals = this.#totals;
    if (report.startup === 'COLDSTART') totals.coldstarts++;
    else totals.warmstarts++;
    if (report.tailRepaired) totals.tailsRepaired++;
    // Before the first start was reported it may have been completed all the same.
    if (this.#everOpened && report.startup !== 'WARMSTART') fail(`it was a ${report.startup}`);
    this.#everOpened = true;

    if (report.generation <= this.#generation)
      fail(`generation ${report.generation} after ${this.#generation}`);
    this.#generation = report.generation;
    if (report.base !== undefined && report.base !== this.#base) {
      this.#base = report.base;
      totals.compacted++;
    }

    const found = new Model();
    for (const [key, value] of report.entries) found.put(key, Buffer.from(value, 'base64'));
    this.#match(found, fail);

    const known = [this.#password, this.#passwordNext];
    const [password] = report.passwords;
    if (report.passwords.length !== 1 || !known.includes(password)) {
      fail(`the slot takes the passwords ${JSON.stringify(report.passwords)}`);
    } else {
      this.#password = password!;
      this.#passwordNext = undefined;
    }
  }

  /** Looks for the k operations that lead to what was found. */
  #match(found: Model, fail: (what: string) => void): void {
    const totals = this.#totals;
    const pending = this.#pending;
    this.#pending = undefined;
    const model = this.#model;
    this.#model = found;
    const answers = pending?.answers ?? new Map<number, string>();
    const least = Math.max(-1, ...answers.keys()) + 1;
    const most = pending === undefined ? 0 : answers.size + inFlight;
    const operations = new Operations(pending?.seed ?? 0, model, this.#witnessedOneIn);
    let tooEarly: number | undefined;
    for (let k = 0; ; ++k) {
      if (model.digest === found.digest) {
        if (k >= least) {
          const same = [...found.entries].every(
            ([key, value]) => model.entries.get(key)?.equals(value) === true,
          );
          if (!same) fail('the digests agree and the entries do not');
          return;
        }
        tooEarly = k;
      }
      if (k >= most) break;
      const answer = model.apply(operations.next());
      const acknowledged = answers.get(k);
      if (acknowledged !== undefined && acknowledged !== '?' && acknowledged !== answer) {
        fail(`operation ${k} answered '${acknowledged}' in place of '${answer}'`);
      }
    }
    if (tooEarly === undefined) {
      totals.acknowledgedLost += answers.size;
      fail(`what was found is no state between operation ${least} and ${most}`);
    } else {
      const lost = [...answers.keys()].filter((index) => index >= tooEarly).length;
      totals.acknowledgedLost += lost;
      fail(`${lost} acknowledged operations are lost: the state is that after ${tooEarly} of ${least}`);
    }
  }
}

/** A moment at which no kill was yet. That of a COLDSTART comes with each store. */
function missedBy({ moments: counts }: Totals): keyof typeof shares | undefined {
  return moments.find((moment) => moment !== 'coldstart' && counts[moment] === 0) as
    keyof typeof shares | undefined;
}

interface Run {
  readonly end: NodeJS.Signals | number | null;
  readonly lines: readonly string[];
  readonly complaints: string;
}

/** Runs the campaign. Where something was wrong the directory is kept, and the faults name it. */
export async function runCampaign(options: CampaignOptions): Promise<Totals> {
  const totals: Totals = {
    seed: options.seed,
    kills: 0,
    moments: { coldstart: 0, open: 0, load: 0, anchor: 0, password: 0, close: 0 },
    orders: { 'node first': 0, 'swtpm first': 0, both: 0 },
    unwitnessed: 0,
    acknowledged: 0,
    falseAlarms: 0,
    acknowledgedLost: 0,
    coldstarts: 0,
    warmstarts: 0,
    tailsRepaired: 0,
    verified: 0,
    compacted: 0,
    faults: [],
  };
  const directory = await mkdtemp(join(tmpdir(), 'strongroom-kill-'));
  const worker = await compileWorker();
  const wanted = (): boolean =>
    totals.faults.length === 0 &&
    totals.kills < options.kills &&
    performance.now() < (options.untilMs ?? Number.POSITIVE_INFINITY);
  const lane = async (index: number): Promise<void> => {
    for (let generation = 0; wanted(); ++generation) {
      const place = join(directory, `${index}-${generation}`);
      await mkdir(place);
      const tpm = options.tpm === true ? await Swtpm.started() : undefined;
      const seed = mixSeeds(options.seed, index, generation);
      const store = new KilledStore(place, worker, totals, seed, { tpm, keyService: options.keyService });
      for (let round = 0; round < roundsPerStore && wanted(); ++round) {
        await store.round(true, totals.kills < options.kills / 2 ? undefined : missedBy(totals));
        options.onProgress?.(totals);
      }
      // The last kill of a store is judged too, and it closes properly.
      const sound = totals.faults.length === 0 && (await store.round(false));
      if (!sound) tpm?.copyState(join(place, 'tpm-state'));
      await tpm?.remove();
      if (!sound) return;
      await rm(place, { recursive: true });
    }
  };
  await Promise.all(Array.from({ length: options.stores }, (_, index) => lane(index)));
  if (totals.faults.length === 0) await rm(directory, { recursive: true });
  return totals;
}

/** STRONGROOM_SEED, or another. */
export function campaignSeed(otherwise: number): number {
  const given = process.env['STRONGROOM_SEED'];
  return (given === undefined ? otherwise : Number(given)) >>> 0;
}
