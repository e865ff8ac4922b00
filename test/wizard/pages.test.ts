// What a page of the restore wizard is, without a browser: names and messages of any kind are harmless, nothing stands in
// a document that its content security policy forbids, and no secret comes back.
import assert from 'node:assert/strict';

import { errorTable } from '../../lib/error-table.js';
import type { Reason } from '../../lib/errors.js';
import { restoreSteps } from '../../lib/restore/steps.js';
import { render, script, stylesheet } from '../../lib/wizard/pages/index.js';
import type { View, WaitingView } from '../../lib/wizard/view.js';
import { facts, problemOf, stepsUpTo, views } from '../support/wizard-views.js';

const all = Object.entries(views) as [string, View][];

/** Members whose values are of a closed set, or are the wizard's own. */
const closed = ['page', 'step', 'state', 'reason', 'hsmType', 'csrf', 'tlsFingerprint', 'about', 'soPin'];

/** The view with each other text in place of its own. */
function withText(view: View, text: string): View {
  return JSON.parse(JSON.stringify(view), (key, value: unknown) =>
    typeof value === 'string' && !closed.includes(key) ? text : value,
  ) as View;
}

const textOf = (document: string): string =>
  document
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#39;/g, "'")
    .replace(/\s+/g, ' ');

describe('the pages of the restore wizard', () => {
  for (const [name, view] of all) {
    describe(name, () => {
      const document = render(view);

      it('has one script and one stylesheet, both files, and nothing inline', () => {
        assert.deepEqual(document.match(/<script[^>]*>[^<]*/g), [
          '<script src="/setup-wizard/live.js" defer>',
        ]);
        assert.equal(document.match(/rel="stylesheet"/g)?.length, 1);
        assert.doesNotMatch(document, /<style|\sstyle=|\son[a-z]+=|javascript:|<base|<iframe/i);
      });

      it('is a whole document with a language, one h1, and a title of its own', () => {
        assert.match(document, /^<!doctype html>\s*<html lang="en">/);
        assert.equal(document.match(/<h1/g)?.length, 1);
        assert.match(document, /<title>.+ - Strongroom<\/title>/);
      });

      it('asks nobody outside', () => {
        for (const [, target = ''] of document.matchAll(/(?:href|src|action)="([^"]*)"/g)) {
          assert.match(target, /^(\/setup-wizard\/|#|data:image\/svg)/);
        }
      });

      it('shows hostile names and messages harmlessly', () => {
        const hostile = '"\'><img src=x onerror=alert(1)><script>alert(1)</script>&lt;</title></p>';
        const plain = render(withText(view, 'plain'));
        const shown = render(withText(view, hostile));
        assert.doesNotMatch(shown, /<img|<script>/);
        const tags = (text: string): number => text.match(/<[a-z/]/gi)?.length ?? 0;
        assert.equal(tags(shown), tags(plain));
      });

      it('shows control characters and turns of direction as replacement characters', () => {
        const shown = render(withText(view, 'a\u0000\u001b[31m\u202eb\u2066\u200f\u2028\u0085c'));
        assert.doesNotMatch(shown.replace(/\n/g, ' '), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        if (view.page !== 'code' || view.problem !== undefined) assert.match(shown, /a\ufffd/);
      });

      it('gives no field for a secret a value', () => {
        for (const input of document.match(/<input[^>]*>/g) ?? []) {
          if (/type="password"|name="code"|name="erase"/.test(input)) assert.doesNotMatch(input, /\svalue=/);
        }
      });
    });
  }

  it('posts the code, the password and the token with the names that the server reads', () => {
    const fieldsOf = (document: string): (string | undefined)[] => [
      /action="([^"]*)"/.exec(document)?.[1],
      ...new Set([...document.matchAll(/<input[^>]*\sname="([^"]*)"/g)].map(([, name]) => name)),
    ];
    assert.deepEqual(fieldsOf(render(views.code)), ['/setup-wizard/code/', 'csrf', 'code']);
    assert.deepEqual(fieldsOf(render(views.password)), [
      '/setup-wizard/auto_restore_password/',
      'csrf',
      'password',
    ]);
    assert.deepEqual(fieldsOf(render(views['hsm-erase'])), [
      '/setup-wizard/auto-restore-hsm-setup/physical/',
      'csrf',
      'slotId',
      'erase',
      'label',
      'soPin',
      'soPinAgain',
    ]);
    assert.deepEqual(fieldsOf(render(views['password-resumes'])), [
      '/setup-wizard/auto_restore_password/',
      'csrf',
    ]);
    assert.match(render(views.hsm), /action="\/setup-wizard\/auto-restore-hsm-setup\/softhsm\/"/);
  });

  it('says nothing about the store before the code is given', () => {
    for (const value of [facts.instance, facts.storageId, facts.token?.serial]) {
      assert.doesNotMatch(render(views.code), new RegExp(value ?? '-'));
    }
    for (const step of ['password', 'hsm', 'outage', 'result'] as const) {
      assert.match(render(views[step]), new RegExp(facts.token?.serial ?? '-'));
    }
  });

  it('has no field on a page that waits, and a refresh only where it changes by itself', () => {
    const waiting =
      'hsm-none hsm-no-pin progress outage pin attention refused result error error-address'.split(' ');
    for (const name of waiting) {
      assert.doesNotMatch(render(views[name as keyof typeof views]), /<input|<form/);
    }
    const refreshing = all
      .filter(([, view]) => render(view).includes('http-equiv="refresh"'))
      .map(([, { page }]) => page);
    assert.deepEqual(refreshing, ['hsm', 'hsm', 'progress', 'progress', 'outage', 'attention']);
  });

  it('names what would be erased, and preselects nothing of it', () => {
    const document = render(views['hsm-erase']);
    assert.match(
      textOf(document),
      /Would erase the token staging , serial number 9b1e03d4967a11c2 , and everything in it/,
    );
    const untouched = render({
      ...views['hsm-erase'],
      given: { slotId: undefined, label: '' },
      slots: views['hsm-erase'].slots.slice(0, 1),
    });
    assert.doesNotMatch(untouched, /checked/);
    assert.match(textOf(render(views.hsm)), /Slot 0 .* Empty: nothing is erased/);
    // Where nothing could be erased, no confirmation is asked for.
    assert.doesNotMatch(render({ ...views.hsm, slots: views.hsm.slots.slice(0, 1) }), /name="erase"/);
  });

  it('has the PIN of the security officer as optional only where the server has one', () => {
    const field = (view: View): string => /<input[^>]*name="soPin"[^>]*>/.exec(render(view))?.[0] ?? '';
    assert.match(field(views.hsm), /required/);
    assert.doesNotMatch(field(views['hsm-erase']), /required/);
  });

  it('says per slot whether the PIN of the security officer is chosen now, and with which length', () => {
    const slotsOf = (view: View): string[] =>
      [...render(view).matchAll(/<label class="slot">[^]*?<\/label>/g)].map(([slot]) => textOf(slot));
    const [empty = '', staging = ''] = slotsOf(views.hsm);
    assert.match(empty, /PIN of the security officer: you choose it now, 4 to 255 characters/);
    assert.match(staging, /PIN of the security officer: the token has one already, 4 to 255 characters/);
    const [fixed = ''] = slotsOf(views['hsm-pins-differ']);
    assert.match(fixed, /you choose it now, 16 characters/);
    const [, unknown = ''] = slotsOf(views['hsm-erase']);
    assert.match(unknown, /you choose it now $/);
    const [one = ''] = slotsOf({
      ...views.hsm,
      slots: [{ ...views.hsm.slots[0], pinBytes: { min: 1, max: 1 } }],
    });
    assert.match(one, /1 character $/);
  });

  it('asks for the PIN of the security officer twice only where it is chosen', () => {
    const again = (view: View): string => /<input[^>]*name="soPinAgain"[^>]*>/.exec(render(view))?.[0] ?? '';
    // A field that the stylesheet hides must not be required.
    assert.doesNotMatch(again(views.hsm), /required/);
    assert.match(again(views.hsm), /type="password"/);
    assert.match(again(views['hsm-pins-differ']), /required/);
    assert.equal(again({ ...views.hsm, slots: views.hsm.slots.slice(1) }), '');
    const text = textOf(render(views['hsm-pins-differ']));
    assert.match(text, /The two PINs of the security officer differ.*Nothing was changed/);
    assert.match(text, /If the device came with a PIN of the security officer, type that PIN/);
    assert.doesNotMatch(textOf(render(views.hsm)), /If the device came with/);
  });

  it('explains the user PIN of the new token, and offers none where it is not configured', () => {
    assert.match(
      textOf(render(views.hsm)),
      /User PIN\. The new token gets the user PIN from the configuration of the server/,
    );
    const text = textOf(render(views['hsm-no-pin']));
    assert.match(text, /no user PIN is configured.*start this page again with the user PIN/);
  });

  it('has no heading for an act that it does not offer, and looks again instead', () => {
    for (const name of ['hsm-none', 'hsm-no-pin'] as const) {
      const document = render(views[name]);
      const headings = [...document.matchAll(/<h[12][^>]*>([^]*?)<\/h[12]>/g)].map(([, each]) => each);
      for (const heading of [...headings, /<title>(.*)<\/title>/.exec(document)?.[1]])
        assert.doesNotMatch(heading ?? '', /set up|steps|restore page of/i, name);
      assert.match(document, /data-poll="\d+"/);
      assert.match(textOf(document), /This page looks again every few seconds/);
    }
    assert.match(textOf(render(views['hsm-none'])), /No slot for a token is visible/);
  });

  it('says one thing of one, and another of several', () => {
    const one = textOf(render(views['result-one-key']));
    assert.match(one, /One key is deactivated It refuses to sign/);
    assert.match(one, /Replace the deactivated key\. If it comes back/);
    const two = textOf(render(views.result));
    assert.match(two, /2 keys are deactivated They refuse to sign/);
    assert.match(two, /Replace the deactivated keys\. If one comes back/);
    const wrong = (wrongAttempts: number): string => textOf(render({ ...views.password, wrongAttempts }));
    assert.match(wrong(1), / 1 wrong password so far/);
    assert.match(wrong(2), / 2 wrong passwords so far/);
    assert.doesNotMatch(wrong(0), /so far/);
  });

  it('does not show the serial number of a lost token where a new one is', () => {
    const text = textOf(render(views['password-new-token']));
    assert.match(text, /New token acme Serial number f02c77d1a9b41e60/);
    assert.ok(!text.includes(facts.token?.serial ?? '-'));
    for (const name of ['hsm', 'progress-token'] as const)
      assert.match(textOf(render(views[name])), /Missing token acme/);
  });

  it('asks for no password where the token opens the store', () => {
    const document = render(views['password-resumes']);
    assert.doesNotMatch(document, /type="password"/);
    const text = textOf(document);
    assert.match(text, /Continue the restore.*needs no password.*then continue\./);
    assert.match(document, /<button type="submit">Continue<\/button>/);
    assert.match(text, /Password , done Restore/);
  });

  it('names the address of the log to a request that went to another, and no link back', () => {
    const document = render(views['error-address']);
    assert.ok(document.includes('<code>https://vault.example:8443/setup-wizard/</code>'));
    assert.doesNotMatch(document, /href="\/setup-wizard\/"/);
    assert.doesNotMatch(
      render({ page: 'error', status: 421, title: 'x', message: 'x' }),
      /href="\/setup-wizard\/"/,
    );
    assert.match(render(views.error), /href="\/setup-wizard\/"/);
  });

  it('has the steps after the form, and they can be folded', () => {
    for (const name of ['password', 'hsm', 'result'] as const) {
      const document = render(views[name]);
      const fold = /<details class="fold" open>\s*<summary>[^]*?<ol class="steps">/.exec(document);
      assert.ok(fold !== null, name);
      assert.ok(fold.index > document.lastIndexOf('</form>'), name);
    }
  });

  it('speaks plainly: no riddle, and no word that the style replaces', () => {
    const words =
      /next try|is tried|go(es)? on\b|gone on|anew|vouch|heal|mend\b|beside|there is none|somebody|nobody|whoever|in place of/i;
    for (const [name, view] of all) assert.doesNotMatch(textOf(render(view)), words, name);
    assert.doesNotMatch(script.replace(/\/\/.*/g, ''), words);
    assert.match(textOf(render(views['password-wrong'])), /You can try again in 8 s/);
  });

  it('calls a code a code, where too many were wrong', () => {
    const problem = problemOf('password-throttled', 'Too many wrong codes. Try again in 4 s.', 4000);
    const text = textOf(render({ ...views.code, problem }));
    assert.match(text, /This code was not checked\. Each wrong code makes the wait longer/);
    assert.doesNotMatch(text, /(this|wrong|backup) password/i);
  });

  it('sends no one who is here to the command that does the same', () => {
    for (const reason of Object.keys(errorTable) as Reason[]) {
      const problem = problemOf(reason, 'the message');
      for (const view of [views.password, views['password-resumes'], views.hsm])
        assert.doesNotMatch(textOf(render({ ...view, problem })), /strongroom (restore|wizard)/, reason);
    }
  });

  it('promises that an outage ends by itself only where it does', () => {
    const text = (reason: Reason): string =>
      textOf(render({ ...views.outage, problem: problemOf(reason, 'the message') }));
    for (const reason of Object.keys(errorTable) as Reason[]) {
      if (errorTable[reason].retryable) assert.match(text(reason), /the service starts by itself/);
      else assert.doesNotMatch(text(reason), /by itself/);
    }
  });

  it('suspects an attack only where the history does not pass', () => {
    const text = (reason: Reason): string =>
      textOf(render({ ...views.refused, problem: problemOf(reason, 'the message') }));
    assert.match(text('vault-rolled-back'), /changed by someone/);
    for (const reason of ['version', 'persistence-corrupt', 'unsafe-path', 'clock-rolled-back'] as const)
      assert.doesNotMatch(text(reason), /changed by someone|older copy/);
    assert.match(text('clock-rolled-back'), /The clock of the server is behind/);
  });

  it('asks whether the disk is mounted where the files are gone, and never for a new store', () => {
    const text = textOf(
      render({ ...views.attention, problem: problemOf('no-store', 'the directory /srv holds no store now') }),
    );
    assert.match(text, /not visible now.*Check whether the disk is mounted/);
    assert.doesNotMatch(text, /strongroom init/);
  });

  it('gives every reason of the error table a remedy, its code and its name', () => {
    for (const reason of Object.keys(errorTable) as Reason[]) {
      const text = textOf(render({ ...views.password, problem: problemOf(reason, 'the message') }));
      assert.match(text, new RegExp(`the message .*${errorTable[reason].code} ${reason}`));
    }
  });

  it('has a title for each way to wait', () => {
    const titleOf = (page: WaitingView['page'], reason: Reason): string | undefined =>
      /<h1>([^<]*)/
        .exec(render({ page, facts, steps: stepsUpTo(0), problem: problemOf(reason, 'the message') }))?.[1]
        ?.trim();
    assert.equal(titleOf('pin', 'pin-locked'), 'The token has locked its PIN');
    assert.equal(titleOf('pin', 'pin-missing'), 'The token’s PIN is missing');
    assert.equal(titleOf('outage', 'secret-store-unavailable'), 'The secret store does not answer');
    assert.equal(titleOf('attention', 'kek-duplicate'), 'More than one key fits');
    assert.equal(titleOf('attention', 'token-missing'), 'This store has no backup password');
  });

  it('works without facts, causes and times', () => {
    const nothing = {
      instance: undefined,
      storageId: undefined,
      token: undefined,
      newToken: undefined,
      lastGoodMs: undefined,
    };
    for (const [, view] of all) {
      if (!('facts' in view)) continue;
      const bare = { ...view, facts: nothing, found: undefined, problem: undefined, steps: [] };
      const text = textOf(render(bare));
      assert.match(text, /not known/);
      assert.doesNotMatch(text, /undefined|NaN|Invalid|\[object/);
    }
    assert.match(render({ ...views.result, completedMs: Number.NaN }), /not known/);
  });

  it('shows every step with its state', () => {
    const text = textOf(render({ ...views.progress, steps: stepsUpTo(4, 'under-way') }));
    assert.match(text, /Step 5 of 10: Make a new key in the token/);
    assert.equal(text.match(/ Done /g)?.length, 4 + 1);
    assert.match(text, /Make a new key in the token Under way Save the checkpoint in the token To come/);
    const steps = restoreSteps.map((step) => ({ step, state: 'skipped' }) as const);
    assert.match(textOf(render({ ...views.progress, steps })), /All steps are done/);
  });

  it('says that a token is set up, and not that a password is checked', () => {
    const text = textOf(render(views['progress-token']));
    assert.match(text, /Setting up the token.*Step 4 of 10: Find the token/);
    assert.match(text, /Code , done Token Password/);
  });

  it('asks for the password of a store with a new token in other words', () => {
    const steps = views.password.steps.map((each) =>
      each.step === 'token' ? { ...each, state: 'done' as const } : each,
    );
    assert.match(textOf(render({ ...views.password, steps })), /The new token is ready/);
    assert.match(textOf(render(views.password)), /does not hold the key/);
  });

  it('does not ask for the PIN of the configuration', () => {
    const text = textOf(
      render({ ...views.password, problem: problemOf('pin-wrong', 'the token does not take it') }),
    );
    assert.match(text, /The token does not take the PIN.*configuration of the server/);
    for (const name of ['pin', 'refused'] as const)
      assert.doesNotMatch(render(views[name]), /href="\/setup-wizard\/"|data-poll/);
  });

  it('groups the fingerprint of the web server, as OpenSSL writes it', () => {
    const [code = ''] = /<code class="print"[^]*?<\/code\s*>/.exec(render(views.result)) ?? [];
    assert.equal(
      code.replace(/<[^>]*>|\s/g, ''),
      '9F:3A:C1:D2:0B:7E:45:88:6A:01:C4:E2:F8:D1:7B:33:50:AE:62:55:70:9A:E1:B4:31:83:98:D3:5B:12:03:9E',
    );
  });

  it('is small', () => {
    assert.ok(Buffer.byteLength(stylesheet) < 16_384, `${Buffer.byteLength(stylesheet)} bytes of style`);
    assert.ok(Buffer.byteLength(script) < 8192, `${Buffer.byteLength(script)} bytes of script`);
    assert.doesNotMatch(stylesheet, /@import|url\((?!"data:)/);
  });
});
