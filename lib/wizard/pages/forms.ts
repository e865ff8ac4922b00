// The three pages that ask for something: the one-time code, the new token, the backup password. Nothing that was typed
// into a field for a secret comes back.
import { html } from 'hono/html';

import type { CodeView, HsmView, PasswordView, SlotView } from '../view.js';
import {
  balance,
  durationOf,
  factsCard,
  fieldState,
  name,
  problemBox,
  stepsCard,
  type Html,
} from './parts.js';
import type { PageParts } from './layout.js';
import { codeWords, configuredPinWords, lossWords, problemWords } from './words.js';

const csrfField = (csrf: string): Html => html`<input type="hidden" name="csrf" value="${csrf}" />`;

/** The wait is counted down by the script, which gives the button back at its end. */
function waitNote(waitMs: number): Html {
  if (!(waitMs > 0)) return html``;
  return html`<p class="note warn" id="wait" data-wait="${Math.ceil(waitMs)}">
    The next try is taken in <strong id="wait-left">${durationOf(waitMs)}</strong>.
  </p>`;
}

export function codePage({ csrf, problem }: CodeView): PageParts {
  const waitMs = problem?.retryAfterMs ?? 0;
  const words = problem?.reason === 'password-throttled' ? problemWords[problem.reason] : codeWords;
  return {
    title: problem === undefined ? 'One-time code' : 'Error: one-time code',
    main: html`<h1>Enter the one-time code</h1>
      <p class="lead">
        This service cannot open its store. To see why, and what helps, type the code that was printed to the
        log of the server: only those who can read it may go on.
      </p>
      ${problemBox(problem, ['code'], words && { ...words, field: 'code' })}
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
          ${fieldState('code', ['code-hint'], problem !== undefined)}
          ${problem === undefined && 'autofocus'}
        />
        ${waitNote(waitMs)}
        <button type="submit">Continue</button>
        <details>
          <summary>Where is the log?</summary>
          <p>In a container: <code>docker logs</code> or <code>podman logs</code> with its name.</p>
          <p>As a system service: <code>journalctl -u</code> with the name of its unit.</p>
          <p>Started by hand: in that terminal.</p>
        </details>
      </form>`,
    aside: html`<section class="card quiet" aria-labelledby="certificate">
      <h2 id="certificate">About the warning of your browser</h2>
      <p>
        This page has a temporary certificate that no authority has signed. Its SHA-256 fingerprint is in the
        log, beside the code. Compare it with the one that your browser shows before you type the code.
      </p>
    </section>`,
  };
}

export function passwordPage(view: PasswordView): PageParts {
  const { problem, found, resumes, wrongAttempts, waitMs } = view;
  const words = problem && (configuredPinWords(problem.reason) ?? problemWords[problem.reason]);
  const isNewToken = view.steps.some(({ step, state }) => step === 'token' && state === 'done');
  const loss = found === undefined ? undefined : lossWords[found];
  const lead = resumes
    ? 'A restore was begun and is not completed. It goes on where it stopped; what is done is not done again.'
    : isNewToken
      ? 'The new token is ready. The backup password opens the store, and a new key is made in the token.'
      : `${loss ?? 'The key that opens this store is not available.'} The backup password opens it, and a new key is made.`;
  const describedBy = ['password-hint', ...(waitMs > 0 ? ['wait'] : [])];
  return {
    title:
      problem === undefined
        ? 'Backup password'
        : `Error: ${problemWords[problem.reason]?.title ?? 'restore'}`,
    main: html`<h1>${resumes ? 'Go on with the restore' : 'Enter the backup password'}</h1>
      <p class="lead">${lead}</p>
      ${problemBox(problem, ['password'], words)}
      <form class="card" method="post" action="/setup-wizard/auto_restore_password/" data-busy="Checking…">
        ${csrfField(view.csrf)}
        <label for="password">Backup password</label>
        <p class="hint" id="password-hint">
          The one that was set for this store. A wrong one changes nothing.
        </p>
        <input
          name="password"
          type="password"
          autocomplete="current-password"
          required
          ${fieldState('password', describedBy, words?.field === 'password')}
        />
        <p class="hint caps" id="caps" role="status"></p>
        ${wrongAttempts > 0 && html`<p class="hint">Wrong passwords so far: ${wrongAttempts}.</p>`}
        ${waitNote(waitMs)}
        <button type="submit">${resumes ? 'Go on' : 'Restore'}</button>
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

const typeWords = {
  softhsm: {
    title: 'Set up a new SoftHSM token',
    absent: 'If the directory of the tokens is only not mounted, mount it and',
    empty: 'Check the configuration of SoftHSM',
  },
  physical: {
    title: 'Set up a new hardware token',
    absent: 'If it is only unplugged, connect it and',
    empty: 'Connect the device',
  },
} as const;

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
    </span>
  </label>`;
}

/** The chosen one; else the only empty one, never one that would be erased. */
function preselected({ slots, given }: HsmView): number | undefined {
  if (given.slotId !== undefined) return given.slotId;
  const empty = slots.filter(({ erases }) => erases === undefined);
  return empty.length === 1 ? empty[0]?.slotId : undefined;
}

const hsmFields: readonly string[] = ['slots', 'label', 'so-pin', 'confirm'];

export function hsmPage(view: HsmView): PageParts {
  const { problem, slots, hsmType, facts, given } = view;
  const erasable = slots.some(({ erases }) => erases !== undefined);
  const fields = hsmFields.filter((field) => field !== 'confirm' || erasable);
  const about = problem === undefined ? undefined : problemWords[problem.reason]?.field;
  const chosen = preselected(view);
  const wrong = (field: string): boolean => about === field;
  const form = html`<form
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
          Type it exactly as it is shown above. Left empty, no token is erased. What is erased cannot be
          brought back.
        </p>
        <input
          name="erase"
          type="text"
          autocomplete="off"
          autocapitalize="off"
          spellcheck="false"
          ${fieldState('confirm', ['confirm-hint'], wrong('confirm'))}
        />
      </div>`
    }
    <label for="label">Label of the new token</label>
    <p class="hint" id="label-hint">Up to 32 letters and digits. The lost token’s label is a good choice.</p>
    <input
      name="label"
      type="text"
      autocomplete="off"
      autocapitalize="off"
      spellcheck="false"
      maxlength="32"
      required
      value="${given.label}"
      ${fieldState('label', ['label-hint'], wrong('label'))}
    />
    <label for="so-pin">PIN of the security officer</label>
    <p class="hint" id="so-pin-hint">
      ${
        !view.asksSoPin
          ? 'The server has one already. Leave this empty to use it.'
          : 'It sets up the token, and can reset its PIN later. Keep it.'
      }
    </p>
    <input
      name="soPin"
      type="password"
      autocomplete="off"
      ${view.asksSoPin && 'required'}
      ${fieldState('so-pin', ['so-pin-hint'], wrong('so-pin'))}
    />
    <button type="submit">
      <span class="calm">Set up the token</span><span class="grim">Erase and set up the token</span>
    </button>
  </form>`;
  return {
    title:
      problem === undefined ? 'New token' : `Error: ${problemWords[problem.reason]?.title ?? 'new token'}`,
    main: html`<h1>${typeWords[hsmType].title}</h1>
      <p class="lead">
        ${
          facts.token === undefined
            ? html`The token of this store is not visible: not mounted, not readable, unplugged, or lost.`
            : html`The token <strong>${name(facts.token.label)}</strong> is not visible: not mounted, not
                readable, unplugged, or lost.`
        }
        ${typeWords[hsmType].absent}
        <a href="/setup-wizard/auto-restore-hsm-setup/${hsmType}/">look again</a>. If it is lost, set up
        another; then the backup password gives the store a new key in it.
      </p>
      ${problemBox(problem, fields)}
      ${
        slots.length === 0
          ? html`<div class="note warn">
              <h2>No slot was found</h2>
              <p>${typeWords[hsmType].empty}, then look again.</p>
            </div>`
          : form
      }
      ${balance(
        html`The key in the token that opens this store, and signing keys that were only in that token.`,
        html`Your data and its history, the keys in the store, and the web server’s certificate.`,
      )}`,
    aside: html`${factsCard(facts)}${stepsCard(view.steps, 'The steps')}`,
  };
}
