#!/usr/bin/env node
// Takes the pictures of the restore wizard's pages in docs/images, by a real Chromium: each page light and dark, wide and
// narrow. Arguments choose some of them by name. Needs Debian's chromium and pngquant.
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { register } from 'tsx/esm/api';

register();
const { chromium } = await import('playwright-core');
const { servePages, views } = await import('../test/support/wizard-views.ts');

const directory = fileURLToPath(new URL('../docs/images/', import.meta.url));
const largest = 72 * 1024;
const widths = { wide: 1120, narrow: 360 };
const pictured =
  'code password password-wrong password-new-token password-resumes hsm hsm-erase hsm-none progress outage pin attention refused result error error-address'.split(
    ' ',
  );
const chosen = process.argv.length > 2 ? process.argv.slice(2) : pictured;

mkdirSync(directory, { recursive: true });
const pages = await servePages();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--disable-lcd-text', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
});
try {
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, width] of Object.entries(widths)) {
      const page = await browser.newPage({
        viewport: { width, height: 640 },
        colorScheme,
        reducedMotion: 'reduce',
        timezoneId: 'UTC',
      });
      for (const name of chosen) {
        if (!(name in views)) throw new Error(`no page has the name ${name}`);
        await page.goto(`${pages.origin}/show/${name}`);
        const path = `${directory}wizard-${name}-${colorScheme}-${size}.png`;
        await page.screenshot({ path, fullPage: true });
        execFileSync('pngquant', ['--force', '--ext', '.png', '--strip', '--speed', '1', '32', path]);
        const { size: bytes } = statSync(path);
        if (bytes > largest) throw new Error(`${path}: ${bytes} bytes; at most ${largest}`);
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
  await pages.close();
}
