// The README: its shell lines run in their order in an empty root, as root and as the user of a service, and its snippets
// compile as strict TypeScript. The quick start is run from the package by package/readme.test.ts.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { createProgram } from '../lib/cli/program.js';
import { compiled, environment, temporaryDirectory } from './cli/support.js';
import { hasNamespaces, isRoot } from './deploy/support.js';

const checkout = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(checkout, 'README.md'), 'utf8');

/** The blocks below a marker such as `<!-- as-root -->`. */
function blocks(marker: string, language: string): string[] {
  const found = [
    ...readme.matchAll(new RegExp(`^<!-- ${marker} -->\n\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms')),
  ];
  assert.ok(found.length > 0, marker);
  return found.map(([, text]) => text ?? '');
}

/**
 * $1: an empty directory that becomes the root; $2: the checkout; $3: the directory of node; $4: a program; the rest is the
 * command. /etc has no more than useradd(8) asks for, /var and /home have nothing.
 */
const emptyRoot = `
set -eu
root=$1 checkout=$2 node=$3 program=$4
shift 4
mount -t tmpfs -o mode=755 tmpfs "$root"
for directory in usr proc dev etc root home tmp opt/bin var/lib; do mkdir -p "$root/$directory"; done
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
for directory in /usr /dev /proc "$checkout" "$node"; do
  mkdir -p "$root$directory"
  mount --rbind "$directory" "$root$directory"
done
chmod 1777 "$root/tmp"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
touch "$root/etc/shadow" "$root/etc/gshadow" "$root/etc/login.defs"
printf '#!/bin/sh\\nexec "%s/node" "%s" "$@"\\n' "$node" "$program" > "$root/opt/bin/strongroom"
chmod 755 "$root/opt/bin/strongroom"
exec chroot "$root" "$@"
`;

describe('the README', function () {
  this.timeout(120_000);

  it('its shell lines run in an empty root, as root and then as the user of the service', async function () {
    if (!isRoot || !hasNamespaces()) this.skip();
    const [asRoot = ''] = blocks('as-root', 'sh');
    const [asService = ''] = blocks('as-service', 'sh');
    const root = await temporaryDirectory();
    const service = [
      'HOME=/var/lib/acme STRONGROOM_PASSWORD="$(cat /root/backup-password)"',
      'setpriv --reuid=acme --regid=acme --init-groups -- sh -euxc "$0"',
    ].join(' ');
    const { stdout } = await promisify(execFile)(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', 'sh', '-c', emptyRoot, 'sh', root, checkout],
        ...[dirname(process.execPath), join(compiled, 'dist/cli/main.js')],
        ...['sh', '-euc', `${asRoot}\ncd /\n${service}`, asService],
      ],
      { env: { ...environment(), PATH: '/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }, cwd: '/' },
    );
    assert.match(stdout, /^verdict +ok$/m);
    assert.match(stdout, /^12100$/m, 'get writes no newline');
    assert.match(stdout, /^95$/m);
  });

  it('each of its commands exists, with its options', () => {
    const named = [...readme.matchAll(/^\| `strongroom ([^`]+)` \|/gm)].map(([, line]) => line ?? '');
    assert.ok(named.length >= 9);
    for (const line of named) {
      const words = line.split(' ');
      let command = createProgram();
      while (command.commands.length > 0) {
        const name = words.shift();
        command = command.commands.find((each) => each.name() === name) ?? assert.fail(line);
      }
      for (const option of words.filter((word) => word.startsWith('--')))
        assert.ok(
          command.options.some(({ long }) => long === option),
          line,
        );
    }
  });

  it('its snippets compile as strict TypeScript', async () => {
    const place = join(checkout, `build/readme-test/${process.pid}`);
    mkdirSync(place, { recursive: true });
    try {
      const calls = `import { inspect, type Persistence } from 'strongroom';
export async function calls(persistence: Persistence, directory: string, expected: Buffer, next: Buffer): Promise<void> {
  const { vault } = persistence;
  const [key, other, value] = ['a', 'b', next] as const;
  ${blocks('calls', 'ts').join('\n')}
}`;
      const options = blocks('options', 'js').map(
        (text, at) => `export const options${at} = { ${text} } satisfies Partial<OpenOptions>;`,
      );
      writeFileSync(join(place, 'quick-start.ts'), blocks('quick-start', 'js').join('\n'));
      writeFileSync(join(place, 'calls.ts'), calls);
      writeFileSync(
        join(place, 'options.ts'),
        ["import type { OpenOptions } from 'strongroom';", ...options].join('\n'),
      );
      const config = {
        extends: join(checkout, 'tsconfig.json'),
        compilerOptions: { types: ['node'], typeRoots: [join(checkout, 'node_modules/@types')] },
        include: [join(place, '*.ts')],
        exclude: [],
      };
      writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(config));
      const tsc = join(checkout, 'node_modules/.bin/tsc');
      await promisify(execFile)(tsc, ['-p', place]).catch((error: unknown) =>
        assert.fail((error as { stdout: string }).stdout),
      );
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});
