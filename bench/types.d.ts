/** The shapes that the harness, its engines and its works agree on. */

/** Numbers that one work yields on one engine; names end in their unit. */
export type Metrics = Record<string, number>;

/** An open store. A missing method means that the engine cannot do that work and is left out of it. */
export interface Store {
  /** One durable record; durable on return or, if a promise comes back, when it resolves. */
  put?(key: Buffer, value: Buffer): unknown;
  /** The same, durable on return. */
  putSync?(key: Buffer, value: Buffer): unknown;
  /** Many durable records by the fastest way the engine has: strongroom one promise each, peers a transaction. */
  putMany?(keys: Buffer[], values: Buffer[]): unknown;
  /** Many durable records, each on its own (no shared transaction asked for), all in flight where possible. */
  putSeparate?(keys: Buffer[], values: Buffer[]): unknown;
  /** Many records, all or nothing, durable. */
  batch?(keys: Buffer[], values: Buffer[]): unknown;
  /** Adds one to every named counter, durably. */
  increment?(keys: Buffer[]): unknown;
  /** A Buffer that belongs to the caller. */
  get?(key: Buffer): Buffer | undefined;
  /** Reads everything; with an authenticated engine every byte passes its MAC. Absent: `open` already did. */
  verify?(): unknown;
  /** One call of ValidateBeforeWrite with a warm cache. */
  validate?(): unknown;
  /** The library that encrypts, with its version. */
  crypto(): string;
  close(): unknown;
}

export interface OpenOptions {
  directory: string;
  records: number;
}

export interface Engine {
  name: string;
  /** `subject` is measured, `limit` is the machine, every other engine is a peer. */
  role: 'subject' | 'peer' | 'limit';
  /** What was chosen, in a line: cipher, durability, caches. */
  settings: string;
  /** Does every read prove integrity? Only then does a peer count as "best peer". */
  authenticated: boolean;
  /** The npm package, if it stands in bench/package.json. */
  package?: string;
  open(options: OpenOptions): Promise<Store>;
}

/** The records of a store; see lib/records.mjs. */
export interface RecordSource {
  /** N. */
  readonly count: number;
  /** 64 keys of counters, which are not among the records. */
  readonly counters: Buffer[];
  key(index: number): Buffer;
  randomIndex(): number;
  randomKey(): Buffer;
  value(): Buffer;
  /** Different random keys, each with a new value. */
  randomBatch(size: number): { keys: Buffer[]; values: Buffer[] };
}

/** What a work is given to run with. */
export interface WorkContext {
  store: Store;
  records: RecordSource;
  /** Time to spend measuring, and before that warming up. */
  budgetMs: number;
  warmupMs: number;
  /** Closes the store and opens it again, verified; gives the time of opening and verifying. */
  reopen(): Promise<number>;
}

/** How a metric is printed. */
export interface Shown {
  metric: string;
  label: string;
  unit: string;
  better: 'lower' | 'higher';
}

/** Metrics of one round, looked up by engine; `work` and `n` default to those of the gate. */
export interface RoundView {
  n: number;
  sizes: number[];
  value(engine: string, metric: string, where?: { work?: string; n?: number }): number | undefined;
  /** The best value among authenticated peers, and those named in `also`. */
  bestPeer(
    metric: string,
    better: 'lower' | 'higher',
    options?: { work?: string; also?: string[] },
  ): number | undefined;
}

/** One claim, judged by the median of its value over the rounds. */
export interface Gate {
  label: string;
  unit: string;
  direction: 'at least' | 'at most';
  bar(n: number): number | undefined;
  moonshot(n: number): number | undefined;
  /** `undefined` when the round lacks what the claim needs. */
  value(round: RoundView): number | undefined;
}

export interface Work {
  name: string;
  title: string;
  /** Works whose results this one's gates read; they run too when only this one is asked for. */
  needs?: string[];
  /** `last`: judged at the largest N only; `first`: measured at the smallest N only. Default: every N. */
  sizes?: 'first' | 'last';
  shows: Shown[];
  gates: Gate[];
  /** Bars on system calls, checked by --syscalls. */
  syscalls?: { syncsPerPut?: number; bytesPerPut?: number };
  /** Absent: nothing of its own is measured. */
  supports?(store: Store): boolean;
  run?(context: WorkContext): Promise<Metrics> | Metrics;
}

/** Share of the machine's time that others took during a measurement. */
export interface Noise {
  others: number;
  steal: number;
}

export interface Sample {
  work: string;
  n: number;
  round: number;
  engine: string;
  metrics: Metrics;
  noise: Noise;
}

export interface EngineFacts {
  role: Engine['role'];
  settings: string;
  authenticated: boolean;
  version: string;
  crypto: string;
}

export interface SyscallCount {
  work: string;
  n: number;
  engine: string;
  puts: number;
  syncs_per_put: number;
  bytes_per_put: number;
  writes_per_put: number;
}

export interface Results {
  version: 1;
  started: string;
  machine: Record<string, string | number>;
  options: { rounds: number; sizes: number[]; seconds: number; retries: number };
  engines: Record<string, EngineFacts>;
  /** Engines that could not take part, with the reason. */
  absent: Record<string, string>;
  samples: Sample[];
  /** Measurements repeated because of noise, and those that stayed noisy after the last try. */
  noise: { cells: number; repeated: number; noisy: string[] };
  syscalls: SyscallCount[];
}
