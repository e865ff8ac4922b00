// A progress bar for work that takes long enough to be waited for: on a terminal only, never where a log would keep it.
const showAfterMs = 400;
const redrawMs = 80;
const barColumns = 30;

/** What a bar needs of a stream. */
export interface BarStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class ProgressBar {
  readonly #label: string;
  readonly #stream: BarStream;
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  #drawnMs: number | undefined;

  /** Draws on standard error unless told otherwise. */
  constructor(label: string, stream: BarStream = process.stderr, nowMs = () => performance.now()) {
    this.#label = label;
    this.#stream = stream;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
  }

  /** Draws once the work has taken 400 ms, then at most every 80 ms; `done` of `all` are of any unit. */
  readonly update = (done: number, all: number): void => {
    if (this.#stream.isTTY !== true) return;
    const now = this.#nowMs();
    if (now - this.#startedMs < showAfterMs || now - (this.#drawnMs ?? -redrawMs) < redrawMs) return;
    this.#drawnMs = now;
    const part = all > 0 ? Math.min(done / all, 1) : 0;
    const filled = Math.round(part * barColumns);
    const bar = '#'.repeat(filled) + '-'.repeat(barColumns - filled);
    const percent = Math.floor(part * 100)
      .toString()
      .padStart(3);
    this.#stream.write(`\r${this.#label} [${bar}] ${percent} %`);
  };

  /** Takes the bar away. */
  finish(): void {
    if (this.#drawnMs !== undefined) this.#stream.write('\r\x1b[K');
    this.#drawnMs = undefined;
  }
}
