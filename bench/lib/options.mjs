/** The command line of the benchmark. */
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { engineNamed, engines } from '../engines/index.mjs';
import { selectWorks } from '../works/index.mjs';

const BENCH = dirname(dirname(fileURLToPath(import.meta.url)));

export const USAGE = `usage: npm run bench -- [options]

  --only WORK,...     only these works, and those that they need
  --engines NAME,...  only these engines (strongroom and limit are not implied)
  --n 1k,100k,1M      records in the store; default 1k,100k
  --full              1k,100k,1M
  --rounds R          interleaved rounds; default 5
  --seconds S         measuring time per work, engine and round; default 0.7
  --quick             2 rounds, 0.15 s, N = 1k,10k: shows that it runs, proves nothing
  --retries R         times a measurement is repeated when the machine was not quiet; default 3
  --syscalls          count syncs and bytes per put as well (needs strace)
  --dir DIR           where the stores lie; default bench/.data; must be a disk
  --out BASE          also write BASE.md and BASE.svg, e.g. --out docs/performance
  --render FILE       run nothing; print (and with --out write) the results in FILE
  --list              names of works and engines
  --help`;

/** @param {string} text "1k", "100k", "1M" or digits */
export function parseSize(text) {
  const match = /^(\d+)([kM]?)$/.exec(text);
  const size =
    Number(match?.[1]) * { '': 1, k: 1e3, M: 1e6 }[/** @type {'' | 'k' | 'M'} */ (match?.[2] ?? '')];
  if (!(size >= 64)) throw new Error(`--n: "${text}" is not a size of at least 64, such as 1k or 1M`);
  return size;
}

/**
 * @param {string} name
 * @param {string} text
 * @param {number} least
 */
function parseNumber(name, text, least) {
  const value = Number(text);
  if (!(value >= least)) throw new Error(`--${name}: "${text}" is not a number of at least ${least}`);
  return value;
}

const names = (/** @type {string | undefined} */ list) =>
  list?.split(',').filter((name) => name !== '') ?? [];

/** @param {string[]} argv */
export function parseOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string' },
      engines: { type: 'string' },
      n: { type: 'string' },
      full: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      retries: { type: 'string', default: '3' },
      syscalls: { type: 'boolean', default: false },
      dir: { type: 'string', default: join(BENCH, '.data') },
      out: { type: 'string' },
      render: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const sizes = values.n ?? (values.full ? '1k,100k,1M' : values.quick ? '1k,10k' : '1k,100k');
  return {
    works: selectWorks(names(values.only)),
    engines: values.engines === undefined ? engines : names(values.engines).map(engineNamed),
    sizes: [...new Set(names(sizes).map(parseSize))].sort((a, b) => a - b),
    rounds: parseNumber('rounds', values.rounds ?? (values.quick ? '2' : '5'), 1),
    seconds: parseNumber('seconds', values.seconds ?? (values.quick ? '0.15' : '0.7'), 0.01),
    retries: parseNumber('retries', values.retries, 0),
    syscalls: values.syscalls,
    dir: resolve(values.dir),
    out: values.out === undefined ? undefined : resolve(values.out),
    render: values.render === undefined ? undefined : resolve(values.render),
    list: values.list,
    help: values.help,
    results: join(BENCH, 'results', 'latest.json'),
  };
}
