// A remedy that is followed: the commands that it names, run by the built command line with the directory filled in.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';

import type { Reason } from '../../lib/error-table.js';
import type { Persistence } from '../../lib/index.js';
import { password, root, type Place } from './support.js';

export class Remedy {
  constructor(
    readonly refusal: { readonly reason: Reason; readonly remedy: string },
    readonly directory: string,
    readonly env: NodeJS.ProcessEnv = {},
  ) {}

  /** The remedy must name this command. */
  says(command: string): void {
    const { reason, remedy } = this.refusal;
    assert.ok(
      remedy.includes(`\`strongroom ${command}\``) || remedy.includes(`\`strongroom ${command} `),
      `${reason} does not say \`strongroom ${command}\`: ${remedy}`,
    );
  }
  neverSays(word: string): void {
    assert.ok(!this.refusal.remedy.includes(`strongroom ${word}`), this.refusal.remedy);
  }
  names(pattern: RegExp): void {
    assert.match(this.refusal.remedy, pattern);
  }

  /** Runs a command that the remedy names, and gives its output. It must succeed. */
  command(command: string, ...more: readonly string[]): Promise<string> {
    this.says(command);
    return this.run(command, ...more);
  }

  /** The same with any command. `DIR` stands for the directory, which otherwise comes before the options. */
  async run(command: string, ...more: readonly string[]): Promise<string> {
    const words = command.split(' ');
    const at = words.indexOf('DIR');
    const option = words.findIndex((word) => word.startsWith('--'));
    const args =
      at === -1
        ? words.toSpliced(option === -1 ? words.length : option, 0, this.directory)
        : words.with(at, this.directory);
    const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), ...args, ...more], {
      env: {
        ...process.env,
        STRONGROOM_PREBUILD: root,
        STRONGROOM_PASSWORD: password.toString(),
        ...this.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 0, `strongroom ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** The same act by the library, under the clock of the place. */
  perform(place: Place, kind: 'reanchor' | 'recover' | 'reseal'): Promise<Persistence> {
    this.says(kind);
    return place.perform(kind, { password });
  }
}
