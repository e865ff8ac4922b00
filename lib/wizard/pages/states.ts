// The pages that ask for nothing: progress, what keeps the store closed, the result, errors.
import { html } from 'hono/html';

import type { ErrorView, ProgressView, ResultView, StepView, WaitingView } from '../view.js';
import type { PageParts } from './layout.js';
import {
  detail,
  factsCard,
  name,
  problemBox,
  prose,
  stepList,
  stepsCard,
  timeOf,
  type Html,
} from './parts.js';
import { stepWords, waitingWords } from './words.js';

const settled = ({ state }: StepView): boolean => state === 'done' || state === 'skipped';

/** The step that is under way, else the next one. */
function currentStep(steps: readonly StepView[]): number {
  const underWay = steps.findIndex(({ state }) => state === 'under-way');
  return underWay >= 0 ? underWay : steps.findIndex((step) => !settled(step));
}

/** `Step 4 of 10: …`, as the script says it too. */
function progressText(steps: readonly StepView[]): string {
  const at = currentStep(steps);
  const step = steps[at];
  return step === undefined
    ? 'All steps are done'
    : `Step ${at + 1} of ${steps.length}: ${stepWords[step.step]}`;
}

/** A token is set up before the password is asked for. */
export function isTokenSetUp({ steps }: ProgressView): boolean {
  const stateOf = (name: StepView['step']) => steps.find(({ step }) => step === name)?.state;
  return stateOf('token') === 'under-way' && stateOf('password') === 'to-come';
}

export function progressPage(view: ProgressView): PageParts {
  const { steps, problem } = view;
  const done = steps.filter(settled).length;
  const [title, lead] = isTokenSetUp(view)
    ? ['Setting up the token', 'This takes a moment. Then the backup password is asked for.']
    : [
        'Restoring',
        'You need not do anything, and may close this page: the restore goes on without it. Were it cut off, it would go on where it stopped.',
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
        <noscript><p class="hint">This page loads itself again every few seconds.</p></noscript>
      </section>`,
    aside: factsCard(view.facts),
  };
}

const icons = { outage: 'wait', pin: 'warn', attention: 'warn', refused: 'bad' } as const;

export function waitingPage(view: WaitingView): PageParts {
  const { page, problem, steps } = view;
  const words = waitingWords(page, problem?.reason ?? view.found);
  const remedy = words.remedy ?? problem?.remedy;
  // The server looks again by itself, but with a wrong PIN never: a token may lock.
  const looksAgain = page === 'outage' || page === 'attention';
  const begun = steps.some(({ step, state }) => step !== 'detect' && state !== 'to-come');
  return {
    title: words.title,
    ...(looksAgain && { pollMs: 5000, refreshSeconds: 10 }),
    main: html`<h1>${words.title}</h1>
      <p class="lead">${words.lead}</p>
      ${
        (remedy !== undefined || problem !== undefined) &&
        html`<section class="note ${icons[page]}" aria-labelledby="helps">
          <h2 id="helps">What helps</h2>
          ${remedy !== undefined && html`<p>${prose(remedy)}</p>`} ${problem && detail(problem)}
        </section>`
      }
      <p class="again">
        ${
          looksAgain
            ? html`<span class="looks"
                  ><span class="beat" aria-hidden="true"></span> This page looks again every few
                  seconds.</span
                >
                <a href="/setup-wizard/">Look again now</a>`
            : html`When that is done, start the service again.`
        }
      </p>
      <p class="hint" id="stale" role="status"></p>`,
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
    <p>They refuse to sign. Every other key of the store is as it was before.</p>
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
        ? html`<p>The store holds none, so none was written.</p>`
        : html`<p>Its SHA-256 fingerprint. The browser must show the same one when the service is back.</p>
            ${fingerprintOf(fingerprint)}
            <button class="copy" type="button" data-copy="fingerprint" hidden>Copy</button>
            <span class="hint" id="copied" role="status"></span>`
    }
  </section>`;
}

export function resultPage(view: ResultView): PageParts {
  const { deactivatedKeys: keys, tlsFingerprint, unproven, healed, completedMs, steps } = view;
  const title = healed ? 'The store opens again by itself' : 'The store serves again';
  return {
    title: healed ? 'Healed' : 'Restored',
    main: html`<h1><span class="seal" aria-hidden="true"></span>${title}</h1>
      <p class="lead">
        ${
          healed
            ? html`What did not answer, answered again on ${timeOf(completedMs)}. Nothing was restored, and
              nothing was changed.`
            : html`Completed on ${timeOf(completedMs)}. The next start needs no password. Note or print what
              you need: this page is closed when the service takes its place.`
        }
      </p>
      ${
        unproven &&
        html`<section class="note warn" aria-labelledby="unproven">
          <h2 id="unproven">One thing is not proven</h2>
          <p>
            No witness could vouch that this is the newest state: it may be an older copy. Compare the data
            with what you know. If it is right, say so with <code>strongroom reanchor</code>.
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
              Replace the deactivated keys. One that comes back is activated with
              <code>strongroom key reactivate</code>: it must answer a challenge.
            </li>`
          }
          <li>See all of it in <code>strongroom status</code> and <code>strongroom log</code>.</li>
        </ol>
      </section>`,
    aside: html`${factsCard(view.facts, { title: 'The store now', when: 'Last written' })}${!healed && stepsCard(steps, 'What was done')}`,
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
