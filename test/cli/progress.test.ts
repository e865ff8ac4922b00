import assert from 'node:assert/strict';

import { ProgressBar } from '../../lib/cli/progress.js';

describe('the progress bar', () => {
  const barOn = (isTTY: boolean) => {
    const written: string[] = [];
    let now = 0;
    const bar = new ProgressBar('working', { isTTY, write: (text) => written.push(text) }, () => now);
    const at = (ms: number, done: number): void => {
      now = ms;
      bar.update(done, 200);
    };
    return { written, bar, at };
  };

  it('stays away from short work', () => {
    const { written, bar, at } = barOn(true);
    at(100, 50);
    at(399, 199);
    bar.finish();
    assert.deepEqual(written, []);
  });

  it('is drawn on a line of its own now and then, and taken away', () => {
    const { written, bar, at } = barOn(true);
    at(400, 50);
    at(420, 60);
    at(480, 100);
    at(1000, 400);
    bar.finish();
    assert.deepEqual(written, [
      `\rworking [${'#'.repeat(8)}${'-'.repeat(22)}]  25 %`,
      `\rworking [${'#'.repeat(15)}${'-'.repeat(15)}]  50 %`,
      `\rworking [${'#'.repeat(30)}] 100 %`,
      '\r\x1b[K',
    ]);
  });

  it('is never drawn where no terminal is', () => {
    const { written, bar, at } = barOn(false);
    at(5000, 100);
    bar.finish();
    assert.deepEqual(written, []);
  });
});
