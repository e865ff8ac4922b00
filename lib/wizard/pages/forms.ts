// The three pages with a form: the one-time code, the new token, the backup password. No page returns what was typed into
// a field for a secret.
import { html } from 'hono/html';

import type { CodeView, HsmView, PasswordView, SlotView } from '../view.js';
import {
  balance,
  countOf,
  durationOf,
  factsCard,
  fieldState,
  lengthOf,
  name,
  looksAgain,
  lookNote,
  missingTokenWords,
  problemBox,
  prose,
  stepsCard,
  type Html,
} from './parts.js';
import type { PageParts } from './layout.js';
import { codeWordsOf, lossWords, passwordWordsOf, wordsOf } from './words.js';

const csrfField = (csrf: string): Html => html`<input type="hidden" name="csrf" value="${csrf}" />`;

/** The script counts the wait down, and enables the button at its end. */
function waitNote(waitMs: number): Html {
  if (!(waitMs > 0)) return html``;
  return html`<p class="note warn" id="wait" data-wait="${Math.ceil(waitMs)}">
    You can try again in <strong id="wait-left">${durationOf(waitMs)}</strong>.
  </p>`;
}

export function codePage({ csrf, problem }: CodeView): PageParts {
  const waitMs = problem?.retryAfterMs ?? 0;
  const words = problem && codeWordsOf(problem.reason);
  return {
    title: problem === undefined ? 'One-time code' : 'Error: one-time code',
    main: html`<h1>Enter the one-time code</h1>
      <p class="lead">
        This service cannot open its store. To see why, and what helps, type the code from the log of the
        server. Only those who can read the log can continue.
      </p>
      ${problemBox(problem, ['code'], words)}
      <form class="card" method="post" action="/setup-wizard/code/">
        ${csrfField(csrf)}
        <label for="code">One-time code</label>
        <p class="hint" id="code-hint">Five groups of four. It works once.</p>
        <input
          class="code"
          name="code"
          type="text"
          autocomplete="one-time-code"
          autocapitalize="off"
          spellcheck="false"
          maxlength="128"
          required
          ${fieldState('code', ['code-hint'], { wrong: problem !== undefined })}
          ${problem === undefined && 'autofocus'}
        />
        ${waitNote(waitMs)}
        <button type="submit">Continue</button>
        <details>
          <summary>Where is the log?</summary>
          <p>In a container, run <code>docker logs</code> or <code>podman logs</code> with its name.</p>
          <p>For a system service, run <code>journalctl -u</code> with the name of its unit.</p>
          <p>If you started the page by hand, look at that terminal.</p>
        </details>
      </form>`,
    aside: html`<section class="card quiet" aria-labelledby="certificate">
      <h2 id="certificate">About the warning of your browser</h2>
      <p>
        This page has a temporary certificate that no authority has signed. Its SHA-256 fingerprint is in the
        log, next to the code. Compare it with the one that your browser shows before you type the code.
      </p>
    </section>`,
  };
}

const passwordForm = (view: PasswordView, isWrong: boolean): Html => {
  const describedBy = ['password-hint', ...(view.waitMs > 0 ? ['wait'] : [])];
  return html`<label for="password">Backup password</label>
    <p class="hint" id="password-hint">The one that was set for this store. A wrong one changes nothing.</p>
    <input
      name="password"
      type="password"
      autocomplete="current-password"
      required
      ${fieldState('password', describedBy, { wrong: isWrong })}
    />
    <p class="hint caps" id="caps" role="status"></p>
    ${
      view.wrongAttempts > 0 &&
      html`<p class="hint">${countOf(view.wrongAttempts, 'wrong password', 'wrong passwords')} so far.</p>`
    }`;
};

export function passwordPage(view: PasswordView): PageParts {
  const { problem, found, resumes, waitMs } = view;
  const words = problem && passwordWordsOf(problem);
  const isNewToken = view.steps.some(({ step, state }) => step === 'token' && state === 'done');
  const loss = found === undefined ? undefined : lossWords[found];
  const title = resumes ? 'Continue the restore' : 'Enter the backup password';
  const lead = resumes
    ? 'The token has its new key and opens the store. The restore continues where it stopped, and needs no password.'
    : isNewToken
      ? 'The new token is ready. The backup password opens the store, and the token gets a new key.'
      : `${loss ?? 'The key that opens this store is not available.'} The backup password opens the store, and the token gets a new key.`;
  return {
    title:
      problem === undefined ? (resumes ? title : 'Backup password') : `Error: ${words?.title ?? 'restore'}`,
    main: html`<h1>${title}</h1>
      <p class="lead">${lead}</p>
      ${problemBox(problem, resumes ? [] : ['password'], words)}
      <form
        class="${!resumes && 'card'}"
        method="post"
        action="/setup-wizard/auto_restore_password/"
        data-busy="${resumes ? 'Continuing…' : 'Checking…'}"
      >
        ${csrfField(view.csrf)} ${!resumes && passwordForm(view, words?.field === 'password')}
        ${waitNote(waitMs)}
        <button type="submit">${resumes ? 'Continue' : 'Restore'}</button>
      </form>
      ${
        !resumes &&
        balance(
          html`The key in the token that opens this store.`,
          html`Your data and its history, the keys in the store, and the web server’s certificate.`,
        )
      }`,
    aside: html`${factsCard(view.facts)}${stepsCard(view.steps, 'The steps')}`,
  };
}

const titles = { softhsm: 'Set up a new SoftHSM token', physical: 'Set up a new hardware token' } as const;

/** Which PIN of the security officer this slot wants. */
function pinTag({ soPin, pinBytes }: SlotView): Html {
  const length = pinBytes === undefined ? '' : `, ${lengthOf(pinBytes)}`;
  return html`<span class="tag soft"
    >PIN of the security officer:
    ${soPin === 'new' ? 'you choose it now' : 'the token has one already'}${length}</span
  >`;
}

function slotChoice(slot: SlotView, checked: boolean): Html {
  const { slotId, description, erases } = slot;
  return html`<label class="slot">
    <input
      type="radio"
      name="slotId"
      value="${slotId}"
      required
      ${checked && 'checked'}
      ${erases !== undefined && html`class="erases"`}
    />
    <span>
      <span class="slot-name">Slot ${slotId}</span>
      <span class="hint">${name(description)}</span>
      ${
        erases === undefined
          ? html`<span class="tag good">Empty: nothing is erased</span>`
          : html`<span class="tag bad"
              >Would erase the token <strong>${name(erases.label)}</strong>, serial number
              <code>${name(erases.serial)}</code>, and everything in it</span
            >`
      }
      ${pinTag(slot)}
    </span>
  </label>`;
}

/** The chosen one; else the only empty one, never one that would be erased. */
function preselected({ slots, given }: HsmView): number | undefined {
  if (given.slotId !== undefined) return given.slotId;
  const empty = slots.filter(({ erases }) => erases === undefined);
  return empty.length === 1 ? empty[0]?.slotId : undefined;
}

/** The PIN of the security officer: one field where the token has it, two where it is chosen. */
function soPinFields(view: HsmView, isWrong: boolean): Html {
  const { slots, asksSoPin, hsmType } = view;
  const chooses = slots.some(({ soPin }) => soPin === 'new');
  const exists = slots.some(({ soPin }) => soPin === 'existing');
  return html`<label for="so-pin">PIN of the security officer</label>
    <p class="hint" id="so-pin-hint">
      ${
        chooses &&
        html`<span class="choosing"
          >Choose it now, and keep it: it can set a new user PIN later.
          ${
            hsmType === 'physical' &&
            html`If the device came with a PIN of the security officer, type that PIN.`
          }
        </span>`
      }
      ${
        exists &&
        html`<span class="erasing"
          >Type the PIN that the security officer of the erased token has. Some tokens lock after a few wrong
          PINs.
        </span>`
      }
      ${!asksSoPin && html`The configuration of the server has a PIN. To use it, type none here.`}
    </p>
    <input
      name="soPin"
      type="password"
      autocomplete="off"
      ${asksSoPin && 'required'}
      ${fieldState('so-pin', ['so-pin-hint'], { wrong: isWrong })}
    />
    ${
      chooses &&
      html`<div class="choosing">
        <label for="so-pin-again">The same PIN again</label>
        <p class="hint" id="so-pin-again-hint">
          Nothing can check a PIN that is chosen now. A typing error would lock you out later.
        </p>
        <input
          name="soPinAgain"
          type="password"
          autocomplete="off"
          ${!exists && asksSoPin && 'required'}
          ${fieldState('so-pin-again', ['so-pin-again-hint'])}
        />
      </div>`
    }`;
}

const userPinNote = html`<p class="own-pin">
  <strong>User PIN.</strong>
  <span class="soft">
    The new token gets the user PIN from the configuration of the server, which logs in with it. You do not
    type it here. A PIN whose length does not fit the slot is refused, and nothing is changed.
  </span>
</p>`;

function setUpForm(view: HsmView): Html {
  const { problem, slots, hsmType, given } = view;
  const erasable = slots.some(({ erases }) => erases !== undefined);
  const about = problem === undefined ? undefined : wordsOf(problem)?.field;
  const chosen = preselected(view);
  const wrong = (field: string): boolean => about === field;
  return html`<form
    class="card"
    method="post"
    action="/setup-wizard/auto-restore-hsm-setup/${hsmType}/"
    data-busy="Setting up…"
  >
    ${csrfField(view.csrf)}
    <fieldset id="slots" tabindex="-1" ${wrong('slots') && html`aria-describedby="problem" autofocus`}>
      <legend>Slot for the new token</legend>
      ${slots.map((slot) => slotChoice(slot, slot.slotId === chosen))}
    </fieldset>
    ${
      erasable &&
      html`<div class="erasing">
        <label for="confirm">Label of the token to be erased</label>
        <p class="hint" id="confirm-hint">
          Type it exactly as it is shown above. Without it, no token is erased. An erased token cannot be
          brought back.
        </p>
        <input
          name="erase"
          type="text"
          autocomplete="off"
          autocapitalize="off"
          spellcheck="false"
          ${fieldState('confirm', ['confirm-hint'], { wrong: wrong('confirm') })}
        />
      </div>`
    }
    <label for="label">Label of the new token</label>
    <p class="hint" id="label-hint">
      Up to 32 letters and digits. The label of the missing token is a good choice.
    </p>
    <input
      name="label"
      type="text"
      autocomplete="off"
      autocapitalize="off"
      spellcheck="false"
      maxlength="32"
      required
      value="${given.label}"
      ${fieldState('label', ['label-hint'], { wrong: wrong('label') })}
    />
    ${soPinFields(view, wrong('so-pin'))} ${userPinNote}
    <button type="submit">
      <span class="calm">Set up the token</span><span class="grim">Erase and set up the token</span>
    </button>
  </form>`;
}

const hsmFields: readonly string[] = ['slots', 'label', 'so-pin', 'confirm'];

/** Why no form is offered. */
function obstacleOf({ slots, hasUserPin }: HsmView): { title: string; helps: string } | undefined {
  if (slots.length === 0) {
    return {
      title: 'No slot for a token is visible',
      helps:
        'Check that the device is connected, or that the directory of the tokens is mounted and readable.',
    };
  }
  if (hasUserPin) return undefined;
  return {
    title: 'The token is not visible, and no user PIN is configured',
    helps:
      'Bring the token back. To set up another token, start this page again with the user PIN for it, for example with `--pin-file`.',
  };
}

export function hsmPage(view: HsmView): PageParts {
  const { problem, slots, hsmType, facts } = view;
  const obstacle = obstacleOf(view);
  const erasable = slots.some(({ erases }) => erases !== undefined);
  const fields = obstacle === undefined ? hsmFields.filter((field) => field !== 'confirm' || erasable) : [];
  const missing = html`${
    facts.token === undefined
      ? html`The token of this store`
      : html`The token <strong>${name(facts.token.label)}</strong>`
  }
  is not visible: not mounted, not readable, unplugged, or lost.`;
  const path = `/setup-wizard/auto-restore-hsm-setup/${hsmType}/`;
  const aside = html`${factsCard(facts, missingTokenWords)}${
    obstacle === undefined && stepsCard(view.steps, 'The steps')
  }`;
  if (obstacle !== undefined) {
    return {
      title: obstacle.title,
      ...looksAgain,
      main: html`<h1>${obstacle.title}</h1>
        <p class="lead">${missing} Nothing was changed.</p>
        ${problemBox(problem, fields)}
        <section class="note warn" aria-labelledby="helps">
          <h2 id="helps">What helps</h2>
          <p>${prose(obstacle.helps)}</p>
        </section>
        ${lookNote(path)}`,
      aside,
    };
  }
  return {
    title: problem === undefined ? 'New token' : `Error: ${wordsOf(problem)?.title ?? 'new token'}`,
    main: html`<h1>${titles[hsmType]}</h1>
      <p class="lead">
        ${missing} If it is not lost, bring it back and <a href="${path}">look again</a>. If it is lost, set
        up another one. Then the backup password gives the store a new key in it.
      </p>
      ${problemBox(problem, fields)} ${setUpForm(view)}
      ${balance(
        html`If the token is lost: the key in it that opens this store, and the signing keys that were only in
        that token.`,
        html`Your data and its history, the keys in the store, and the web server’s certificate.`,
      )}`,
    aside,
  };
}
