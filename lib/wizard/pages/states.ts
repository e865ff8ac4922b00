// The pages without a form: progress, what keeps the store closed, the result, errors.
import { html } from 'hono/html';

import type { ErrorView, ProgressView, ResultView, StepView, WaitingView } from '../view.js';
import type { PageParts } from './layout.js';
import {
  detail,
  factsCard,
  lookNote,
  looksAgain,
  missingTokenWords,
  name,
  problemBox,
  prose,
  stepList,
  stepsCard,
  timeOf,
  type Html,
  isTokenSetUp,
} from './parts.js';
import { stepWords, waitingWords } from './words.js';

const settled = ({ state }: StepView): boolean => state === 'done' || state === 'skipped';

/** The step that is under way, else the next one. */
function currentStep(steps: readonly StepView[]): number {
  const underWay = steps.findIndex(({ state }) => state === 'under-way');
  return underWay >= 0 ? underWay : steps.findIndex((step) => !settled(step));
}

/** `Step 4 of 10: …`, as in the script. */
function progressText(steps: readonly StepView[]): string {
  const at = currentStep(steps);
  const step = steps[at];
  return step === undefined
    ? 'All steps are done'
    : `Step ${at + 1} of ${steps.length}: ${stepWords[step.step]}`;
}

export function progressPage(view: ProgressView): PageParts {
  const { steps, problem } = view;
  const done = steps.filter(settled).length;
  const setsUp = isTokenSetUp(view);
  const [title, lead] = setsUp
    ? ['Setting up the token', 'This takes a moment. The backup password is next.']
    : [
        'Restoring',
        'You need not do anything. The restore runs without this page, and continues where it stopped if it is interrupted.',
      ];
  return {
    title: `${title}, ${done} of ${steps.length} steps`,
    pollMs: 1000,
    refreshSeconds: 4,
    main: html`<h1>${title}</h1>
      <p class="lead">${lead}</p>
      ${problemBox(problem, [])}
      <section class="card" aria-labelledby="live">
        <p class="now" id="live" role="status" aria-live="polite">${progressText(steps)}</p>
        <progress id="bar" max="${steps.length}" value="${done}" aria-labelledby="live"></progress>
        ${stepList(steps)}
        <p class="hint" id="stale" role="status"></p>
        <noscript><p class="hint">This page loads again every few seconds.</p></noscript>
      </section>`,
    aside: setsUp ? factsCard(view.facts, missingTokenWords) : factsCard(view.facts),
  };
}

const icons = { outage: 'wait', pin: 'warn', attention: 'warn', refused: 'bad' } as const;

export function waitingPage(view: WaitingView): PageParts {
  const { page, problem, steps } = view;
  const words = waitingWords(page, problem?.reason ?? view.found);
  const remedy = words.remedy ?? problem?.remedy;
  // The server looks again by itself, but never with a wrong PIN: a token may lock.
  const looks = page === 'outage' || page === 'attention';
  const begun = steps.some(({ step, state }) => step !== 'detect' && state !== 'to-come');
  return {
    title: words.title,
    ...(looks && looksAgain),
    main: html`<h1>${words.title}</h1>
      <p class="lead">${words.lead}</p>
      ${
        (remedy !== undefined || problem !== undefined) &&
        html`<section class="note ${icons[page]}" aria-labelledby="helps">
          <h2 id="helps">What helps</h2>
          ${remedy !== undefined && html`<p>${prose(remedy)}</p>`} ${problem && detail(problem)}
        </section>`
      }
      ${looks ? lookNote('/setup-wizard/') : html`<p class="again">When that is done, start the service again.</p>`}`,
    aside: html`${factsCard(view.facts)}${begun && stepsCard(steps, 'The steps')}`,
  };
}

/** 32 bytes as groups of four, so that they can be compared; copied, they are one piece as OpenSSL writes it. */
function fingerprintOf(hex: string): Html {
  const bytes =
    hex
      .replace(/[^0-9a-f]/gi, '')
      .toUpperCase()
      .match(/../g) ?? [];
  const groups: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) {
    groups.push(bytes.slice(at, at + 4).join(':') + (at + 4 < bytes.length ? ':' : ''));
  }
  return html`<code class="print" id="fingerprint"
    >${groups.map((group) => html`<span>${group}</span>`)}</code
  >`;
}

function keysSection(keys: ResultView['deactivatedKeys']): Html {
  if (keys.length === 0) {
    return html`<section class="note good" aria-labelledby="keys">
      <h2 id="keys">No key was deactivated</h2>
      <p>Every key of the store is as it was before.</p>
    </section>`;
  }
  return html`<section class="card" aria-labelledby="keys">
    <h2 id="keys">${keys.length === 1 ? 'One key is' : `${keys.length} keys are`} deactivated</h2>
    <p>
      ${keys.length === 1 ? 'It refuses' : 'They refuse'} to sign. Every other key of the store is as it was
      before.
    </p>
    <ul class="keys">
      ${keys.map(({ id, why }) => html`<li><code>${name(id)}</code> <span class="soft">${name(why)}</span></li>`)}
    </ul>
  </section>`;
}

function certificateSection(fingerprint: string | undefined): Html {
  return html`<section class="card" aria-labelledby="tls">
    <h2 id="tls">The web server’s certificate</h2>
    ${
      fingerprint === undefined
        ? html`<p>The store holds no certificate, so no file was written.</p>`
        : html`<p>
              Its SHA-256 fingerprint is below. The browser must show the same one when the service is back.
            </p>
            ${fingerprintOf(fingerprint)}
            <button class="copy" type="button" data-copy="fingerprint" hidden>Copy</button>
            <span class="hint" id="copied" role="status"></span>`
    }
  </section>`;
}

export function resultPage(view: ResultView): PageParts {
  const { deactivatedKeys: keys, tlsFingerprint, unproven, healed, completedMs, steps } = view;
  const title = healed ? 'The store opens again' : 'The store serves again';
  return {
    title: healed ? title : 'Restored',
    main: html`<h1><span class="seal" aria-hidden="true"></span>${title}</h1>
      <p class="lead">
        ${
          healed
            ? html`The token opened it on ${timeOf(completedMs)}. Nothing was restored, and nothing was
              changed.`
            : html`Completed on ${timeOf(completedMs)}. The next start needs no password. Note or print what
              you need. This page closes when the service takes its place.`
        }
      </p>
      ${
        unproven &&
        html`<section class="note warn" aria-labelledby="unproven">
          <h2 id="unproven">One thing is not proven</h2>
          <p>
            No witness confirms that this is the newest state: it may be an older copy. Compare the data with
            what you know. If the data is right, accept it with <code>strongroom reanchor</code>.
          </p>
        </section>`
      }
      ${(!healed || keys.length > 0) && keysSection(keys)}
      ${(!healed || tlsFingerprint !== undefined) && certificateSection(tlsFingerprint)}
      <section class="card" aria-labelledby="next">
        <h2 id="next">What happens now</h2>
        <ol class="plain">
          <li>This restore page closes, and the service starts at its usual address.</li>
          ${
            keys.length > 0 &&
            html`<li>
              Replace the deactivated ${keys.length === 1 ? 'key' : 'keys'}. If
              ${keys.length === 1 ? 'it' : 'one'} comes back, activate it with
              <code>strongroom key reactivate</code>: it must answer a challenge.
            </li>`
          }
          <li>Read the whole report with <code>strongroom status</code> and <code>strongroom log</code>.</li>
        </ol>
      </section>`,
    aside: html`${factsCard(view.facts, { title: 'The store now', token: 'Token' })}${!healed && stepsCard(steps, 'What was done')}`,
  };
}

export function errorPage({ status, title, message, address }: ErrorView): PageParts {
  return {
    title,
    main: html`<p class="status">Error ${status}</p>
      <h1>${title}</h1>
      <p class="lead">${prose(message)}</p>
      ${
        // By another address every link of this one leads here.
        status !== 421 &&
        address === undefined &&
        html`<p class="again"><a href="/setup-wizard/">Go to the restore page</a></p>`
      }`,
    aside: undefined,
  };
}
