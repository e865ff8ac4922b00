// The pages of the restore wizard in a real Chromium: each page light and dark, wide and narrow, is accessible by axe-core's
// WCAG 2.2 AA rules, fits its width and breaks no content security policy; the forms work by keyboard, with the script and
// without.
import assert from 'node:assert/strict';

import axe from 'axe-core';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

import type { View } from '../../lib/wizard/view.js';
import {
  problemOf,
  servePages,
  stepsUpTo,
  views,
  type PageServer,
  type ViewName,
} from '../support/wizard-views.js';

const names = Object.keys(views) as ViewName[];
const sizes = { wide: 1280, narrow: 360 };

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
  readonly passes: readonly { readonly id: string }[];
}

const audit = (page: Page): Promise<AxeResults> =>
  page.evaluate(`axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    rules: { 'target-size': { enabled: true } },
  })`);

/** What has the focus, and whether it can be seen. */
const focused = (page: Page): Promise<{ id: string; seen: boolean }> =>
  page.evaluate(`(() => {
    const at = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(at);
    return { id: at.id || at.tagName, seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
  })()`);

describe('the pages of the restore wizard in Chromium', function () {
  this.timeout(180_000);
  let browser: Browser;
  let pages: PageServer;
  let context: BrowserContext | undefined;
  const complaints: string[] = [];

  const openPage = async (options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> => {
    context = await browser.newContext({ reducedMotion: 'reduce', timezoneId: 'UTC', ...options });
    const page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    return page;
  };

  before(async () => {
    pages = await servePages();
    browser = await chromium.launch({
      executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    });
  });

  beforeEach(() => {
    complaints.length = 0;
    pages.posted.length = 0;
    pages.current = views.error;
  });

  afterEach(async () => {
    await context?.close();
    context = undefined;
    assert.deepEqual(complaints, []);
  });

  after(async () => {
    await browser?.close();
    await pages?.close();
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [size, width] of Object.entries(sizes)) {
      it(`${colorScheme}, ${size}: axe finds nothing, every input has a label, and nothing is wider than the screen`, async () => {
        const page = await openPage({ colorScheme, viewport: { width, height: 740 } });
        for (const name of names) {
          await page.goto(`${pages.origin}/show/${name}`);
          await page.evaluate(axe.source);
          const { violations, passes } = await audit(page);
          const found = violations.map(
            ({ id, nodes }) => `${name}: ${id}: ${nodes.map(({ html }) => html).join(' ')}`,
          );
          assert.deepEqual(found, []);
          assert.ok(passes.some(({ id }) => id === 'color-contrast'));
          const [wide, unlabelled] = await page.evaluate<[number, number]>(`[
            document.documentElement.scrollWidth,
            [...document.querySelectorAll('input:not([type=hidden])')].filter((input) => input.labels.length === 0).length,
          ]`);
          assert.ok(wide <= width, `${name}: ${wide} px`);
          assert.equal(unlabelled, 0, name);
        }
      });
    }
  }

  it('fits 320 px with long and hostile names, and runs nothing of them', async () => {
    const page = await openPage({ viewport: { width: 320, height: 640 } });
    const hostile = `"><img src=x onerror=alert(1)><script>alert(1)</script>\u202e${'x'.repeat(300)}`;
    const hide = (view: View): View =>
      JSON.parse(JSON.stringify(view), (key, value: unknown) =>
        typeof value === 'string' && !['page', 'step', 'state', 'reason', 'hsmType', 'csrf'].includes(key)
          ? hostile
          : value,
      ) as View;
    for (const name of names) {
      pages.current = hide(views[name]);
      await page.goto(`${pages.origin}/show`);
      assert.equal(await page.locator('img, script:not([src])').count(), 0, name);
      assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth')) <= 320, name);
    }
  });

  it('shows the focus wherever the Tab key goes, and reaches every control', async () => {
    const page = await openPage();
    for (const name of names) {
      await page.goto(`${pages.origin}/show/${name}`);
      const controls = await page
        .locator('a:visible, button:visible, input:visible, summary:visible')
        .evaluateAll('(all) => all.filter((each) => each.type !== "radio" || each.checked).length');
      await page.evaluate('document.activeElement.blur()');
      const reached: string[] = [];
      for (let at = 0; at < Number(controls); at += 1) {
        await page.keyboard.press('Tab');
        const { id, seen } = await focused(page);
        assert.ok(seen, `${name}: the focus on ${id} is not seen`);
        reached.push(id);
      }
      assert.ok(!reached.includes('BODY'), `${name}: ${reached.join(', ')} of ${String(controls)}`);
    }
  });

  for (const javaScriptEnabled of [true, false]) {
    describe(javaScriptEnabled ? 'with the script' : 'without the script', () => {
      it('takes the code by keyboard, from the field that has the focus', async () => {
        const page = await openPage({ javaScriptEnabled });
        await page.goto(`${pages.origin}/show/code`);
        await page.locator('#code:focus').waitFor();
        await page.keyboard.type('7Q2M-0000-K3ZT-9XWV-4HJP');
        await page.keyboard.press('Enter');
        await page.waitForURL('**/show');
        const [{ path, fields } = assert.fail('nothing was posted')] = pages.posted;
        assert.equal(path, '/setup-wizard/code/');
        assert.deepEqual(Object.fromEntries(fields), {
          csrf: views.code.csrf,
          code: '7Q2M-0000-K3ZT-9XWV-4HJP',
        });
      });

      it('takes the password: the field is the first that the Tab key reaches', async () => {
        const page = await openPage({ javaScriptEnabled });
        await page.goto(`${pages.origin}/show/password`);
        await page.keyboard.press('Tab');
        await page.keyboard.type('correct horse & battery=staple');
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await page.waitForURL('**/show');
        const [{ path, fields } = assert.fail('nothing was posted')] = pages.posted;
        assert.equal(path, '/setup-wizard/auto_restore_password/');
        assert.equal(fields.get('password'), 'correct horse & battery=staple');
      });

      it('puts the focus where the mistake is, and describes it there', async () => {
        const page = await openPage({ javaScriptEnabled });
        for (const [name, id] of [
          ['password-wrong', 'password'],
          ['code-wrong', 'code'],
          ['hsm-erase', 'confirm'],
          ['password-resumes', 'problem'],
        ] as const) {
          await page.goto(`${pages.origin}/show/${name}`);
          await page.locator(`#${id}:focus`).waitFor();
          if (id !== 'problem')
            assert.match((await page.locator(':focus').getAttribute('aria-describedby')) ?? '', /problem/);
        }
      });

      it('sets up a token by keyboard; the label to be erased is asked for only then', async () => {
        const page = await openPage({ javaScriptEnabled });
        await page.goto(`${pages.origin}/show/hsm`);
        const confirm = page.getByLabel('Label of the token to be erased');
        assert.equal(await confirm.isVisible(), false);
        assert.equal(
          await page.getByRole('button', { name: 'Set up the token', exact: true }).isVisible(),
          true,
        );
        await page.getByRole('radio', { name: /^Slot 0 / }).focus();
        await page.keyboard.press('ArrowDown');
        assert.equal(await confirm.isVisible(), true);
        for (const text of ['staging', 'acme-2', '1234']) {
          await page.keyboard.press('Tab');
          await page.keyboard.press('Control+A');
          await page.keyboard.type(text);
        }
        assert.equal(
          await page.getByRole('button', { name: 'Erase and set up the token' }).isVisible(),
          true,
        );
        await page.keyboard.press('Enter');
        await page.waitForURL('**/show');
        const [{ path, fields } = assert.fail('nothing was posted')] = pages.posted;
        assert.equal(path, '/setup-wizard/auto-restore-hsm-setup/softhsm/');
        assert.deepEqual(Object.fromEntries(fields), {
          csrf: views.hsm.csrf,
          slotId: '372605755',
          erase: 'staging',
          label: 'acme-2',
          soPin: '1234',
          soPinAgain: '',
        });
      });

      it('asks twice for a PIN that is chosen now, once for one that a token has', async () => {
        const page = await openPage({ javaScriptEnabled });
        await page.goto(`${pages.origin}/show/hsm`);
        const again = page.getByLabel('The same PIN again');
        const hint = page.locator('#so-pin-hint');
        assert.equal(await again.isVisible(), true);
        assert.match(await hint.innerText(), /Choose it now/);
        assert.doesNotMatch(await hint.innerText(), /erased token/);
        await page.getByRole('radio', { name: /^Slot 372605755 / }).check();
        assert.equal(await again.isVisible(), false);
        assert.match(await hint.innerText(), /the security officer of the erased token/);
        assert.doesNotMatch(await hint.innerText(), /Choose it now/);
        await page.getByRole('radio', { name: /^Slot 0 / }).check();
        await page.getByRole('textbox', { name: 'PIN of the security officer' }).fill('1234');
        await again.fill('1235');
        await page.keyboard.press('Enter');
        await page.waitForURL('**/show');
        assert.deepEqual(
          [pages.posted[0]?.fields.get('soPin'), pages.posted[0]?.fields.get('soPinAgain')],
          ['1234', '1235'],
        );
      });

      it('continues a restore with one key, and asks for nothing', async () => {
        const page = await openPage({ javaScriptEnabled });
        await page.goto(`${pages.origin}/show/password-resumes`);
        assert.equal(await page.locator('input:visible').count(), 0);
        await page.getByRole('button', { name: 'Continue' }).focus();
        await page.keyboard.press('Enter');
        await page.waitForURL('**/show');
        assert.deepEqual(Object.fromEntries(pages.posted[0]?.fields ?? []), { csrf: views.code.csrf });
      });

      it('follows a restore to its result, and an outage to its end', async () => {
        const page = await openPage({ javaScriptEnabled });
        pages.current = { ...views.outage };
        await page.goto(`${pages.origin}/show`);
        assert.match(await page.title(), /does not answer/);
        pages.current = { ...views.progress, steps: stepsUpTo(2, 'under-way') };
        if (javaScriptEnabled) await page.getByText('Restoring').waitFor();
        // Its refresh takes a quarter of a minute.
        else await page.goto(`${pages.origin}/show`);
        await page.getByRole('status').filter({ hasText: 'Step 3 of 10' }).waitFor();
        pages.current = { ...views.progress, steps: stepsUpTo(7, 'under-way') };
        await page.getByRole('status').filter({ hasText: 'Step 8 of 10: Write certificate' }).waitFor();
        assert.match(await page.title(), /7 of 10/);
        assert.equal(await page.locator('li[data-step="commit"]').getAttribute('data-state'), 'done');
        assert.equal(await page.locator('li[data-step="tls"] .state').textContent(), 'Under way');
        assert.equal(await page.getByRole('progressbar').getAttribute('max'), '10');
        pages.current = views.result;
        await page.getByRole('heading', { name: 'The store serves again' }).waitFor();
        assert.match(await page.title(), /^Restored/);
      });
    });
  }

  it('without the script the outage page loads itself again', async () => {
    const page = await openPage({ javaScriptEnabled: false });
    pages.current = views.outage;
    await page.goto(`${pages.origin}/show`);
    pages.current = views.password;
    await page.getByRole('heading', { name: 'Enter the backup password' }).waitFor();
  });

  it('a page without a form loads again when a slot appears, or another cause does', async () => {
    const page = await openPage();
    pages.current = views['hsm-none'];
    await page.goto(`${pages.origin}/show`);
    pages.current = views.hsm;
    await page.getByLabel('Label of the new token').waitFor();
    pages.current = views.outage;
    await page.goto(`${pages.origin}/show`);
    pages.current = { ...views.outage, problem: problemOf('secret-store-unavailable', 'no answer') };
    await page.getByRole('heading', { name: 'The secret store does not answer' }).waitFor();
  });

  it('on a phone the steps come after the form and are folded; a tap unfolds them', async () => {
    const page = await openPage({ viewport: { width: 360, height: 740 } });
    for (const name of ['password', 'hsm', 'result'] as const) {
      await page.goto(`${pages.origin}/show/${name}`);
      const step = page.locator('li[data-step="commit"]');
      assert.equal(await step.isVisible(), false, name);
      await page.locator('details.fold summary').click();
      assert.equal(await step.isVisible(), true, name);
      const form = await page.locator('form, .print').first().boundingBox();
      const at = await step.boundingBox();
      assert.ok((at?.y ?? 0) > (form?.y ?? 0) + (form?.height ?? 0), name);
    }
    await page.setViewportSize({ width: 1280, height: 740 });
    await page.goto(`${pages.origin}/show/password`);
    assert.equal(await page.locator('li[data-step="commit"]').isVisible(), true);
  });

  it('without the script the steps can be folded all the same', async () => {
    const page = await openPage({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
    await page.goto(`${pages.origin}/show/password`);
    await page.locator('details.fold summary').click();
    assert.equal(await page.locator('li[data-step="commit"]').isVisible(), false);
  });

  it('counts the wait down, takes no click before its end, and says that it is over', async () => {
    const page = await openPage();
    pages.current = { ...views['password-wrong'], waitMs: 1500 };
    await page.goto(`${pages.origin}/show`);
    const button = page.getByRole('button', { name: 'Restore' });
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    await page.getByLabel('Backup password').fill('x');
    await page.keyboard.press('Enter');
    await page.getByRole('status').filter({ hasText: 'You can try again now.' }).waitFor();
    assert.deepEqual(pages.posted, []);
    assert.equal(await button.getAttribute('aria-disabled'), null);
    await Promise.all([page.waitForEvent('framenavigated'), button.click()]);
    assert.equal(pages.posted.length, 1);
  });

  it('without the script a click before the end of the wait is left to the server', async () => {
    const page = await openPage({ javaScriptEnabled: false });
    await page.goto(`${pages.origin}/show/password-wrong`);
    await page.getByLabel('Backup password').fill('x');
    await page.getByRole('button', { name: 'Restore' }).click();
    await page.waitForURL('**/show');
    assert.equal(pages.posted.length, 1);
  });

  it('sends a form once, however often it is clicked', async () => {
    const page = await openPage();
    await page.goto(`${pages.origin}/show/password`);
    await page.getByLabel('Backup password').fill('x');
    await page.evaluate(`(() => {
      const button = document.querySelector('button[type=submit]');
      for (let at = 0; at < 5; at += 1) button.click();
    })()`);
    await page.waitForURL('**/show');
    assert.equal(pages.posted.length, 1);
  });

  it('sends no label to be erased with an empty slot', async () => {
    const page = await openPage();
    await page.goto(`${pages.origin}/show/hsm`);
    await page.getByRole('radio', { name: /^Slot 372605755 / }).check();
    await page.getByLabel('Label of the token to be erased').fill('staging');
    await page.getByRole('radio', { name: /^Slot 0 / }).check();
    await page.getByRole('textbox', { name: 'PIN of the security officer' }).fill('1234');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/show');
    assert.deepEqual(
      [pages.posted[0]?.fields.get('slotId'), pages.posted[0]?.fields.get('erase')],
      ['0', ''],
    );
  });

  it('copies the fingerprint as one piece', async () => {
    const page = await openPage({ permissions: ['clipboard-read', 'clipboard-write'] });
    await page.goto(`${pages.origin}/show/result`);
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('status').filter({ hasText: 'Copied.' }).waitFor();
    assert.match(await page.evaluate<string>('navigator.clipboard.readText()'), /^9F(:[0-9A-F]{2}){31}$/);
  });

  it('adds the time of the reader where it is another', async () => {
    const page = await openPage({ timezoneId: 'Europe/Berlin' });
    await page.goto(`${pages.origin}/show/result`);
    assert.match(
      (await page.locator('.lead time').textContent()) ?? '',
      /09:04 UTC \(.*10:04 where you are\)/,
    );
  });

  it('says so when the server does not answer, and leaves the page when the service does', async () => {
    const page = await openPage();
    pages.current = views.progress;
    await page.goto(`${pages.origin}/show`);
    const complaintsOfTheNetwork = complaints.length;
    await page.route('**/show', (route) => route.abort());
    await page.getByRole('status').filter({ hasText: 'does not answer just now' }).waitFor();
    complaints.splice(complaintsOfTheNetwork);
    await page.unroute('**/show');
    await page.route('**/show', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<p>the service</p>' }),
    );
    await page.waitForURL(`${pages.origin}/`);
    complaints.splice(complaintsOfTheNetwork);
  });

  it('moves nothing where less motion is asked for, and something else where it is not', async () => {
    const motion = async (reducedMotion: 'reduce' | 'no-preference'): Promise<string> => {
      const page = await openPage({ reducedMotion });
      await page.goto(`${pages.origin}/show/progress`);
      const animation = await page.evaluate<string>(
        `getComputedStyle(document.querySelector('[data-state=under-way]'), '::before').animationName`,
      );
      await context?.close();
      return animation;
    };
    assert.equal(await motion('reduce'), 'none');
    assert.equal(await motion('no-preference'), 'turn');
  });
});
