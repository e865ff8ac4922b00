// The restore page in a real Chromium, which trusts the temporary certificate whose fingerprint the log told, and no other
// besides its own roots.
import assert from 'node:assert/strict';
import { createHash, type X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';

import { chromium, type Browser, type Page } from 'playwright-core';

import { isRoot } from './support.js';

/** The page's certificate, as the network shows it. */
function shown(port: number): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate === undefined) reject(new Error('no certificate'));
      else resolve(certificate);
    });
    socket.once('error', reject);
  });
}

export async function launchFor(port: number, fingerprint: string): Promise<Browser> {
  const certificate = await shown(port);
  assert.equal(certificate.fingerprint256, fingerprint, 'the fingerprint is that of the log');
  const spki = createHash('sha256').update(certificate.publicKey.export({ type: 'spki', format: 'der' }));
  return chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: [
      `--ignore-certificate-errors-spki-list=${spki.digest('base64')}`,
      ...(isRoot ? ['--no-sandbox'] : []),
    ],
  });
}

/** Fills the form in and sends it. */
export async function enter(page: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(fields)) await page.fill(`input[name=${name}]`, value);
  await page.click('button[type=submit]');
}

/** From the code to the result, when the token is lost: another is set up, and the backup password given. */
export async function restoreLostToken(
  page: Page,
  port: number,
  given: { readonly code: string; readonly label: string; readonly soPin: string; readonly password: string },
): Promise<void> {
  const { code, label, soPin, password } = given;
  await page.goto(`https://127.0.0.1:${port}/setup-wizard/`);
  await enter(page, { code });
  await page.waitForURL('**/setup-wizard/auto-restore-hsm-setup/softhsm/');
  await page.check('input[name=slotId]');
  await enter(page, { label, soPin, soPinAgain: soPin });
  await page.waitForURL('**/setup-wizard/auto_restore_password/');
  await enter(page, { password });
  await page.waitForURL('**/setup-wizard/result/');
}
