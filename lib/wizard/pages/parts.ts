// The parts that several pages share. A template escapes everything that is put into it.
import { html } from 'hono/html';

import { errorTable } from '../../error-table.js';
import type { Problem, ProgressView, StepView, StoreFacts } from '../view.js';
import { stateWords, stepWords, wordsOf, type ProblemWords } from './words.js';
import { durationText } from '../../base/units.js';

export type Html = ReturnType<typeof html>;

/** `22 November 2026, 07:17 UTC`; the script adds the reader's own time. */
export function timeOf(ms: number): Html {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return html`not known`;
  const text = new Intl.DateTimeFormat('en-GB', {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZone: 'UTC',
  }).format(date);
  return html`<time datetime="${date.toISOString()}">${text.replace(' at ', ', ')} UTC</time>`;
}

/** `8 s`, `2 min 5 s` */
export function durationOf(ms: number): string {
  return durationText(Math.max(1, Math.ceil(ms / 1000)) * 1000);
}

/** `4 to 255 characters` */
export const lengthOf = ({ min, max }: { readonly min: number; readonly max: number }): string =>
  min === max
    ? countOf(max, 'character', 'characters')
    : `${min} to ${countOf(max, 'character', 'characters')}`;

/** `1 key`, `2 keys` */
export const countOf = (count: number, one: string, many: string): string =>
  `${count} ${count === 1 ? one : many}`;

/** Text between backticks is code. */
export function prose(text: string): Html {
  return html`${text.split('`').map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : part))}`;
}

/** A name that came from a file or a token: kept from turning the direction of the text around it. */
export const name = (text: string): Html => html`<bdi>${text}</bdi>`;

const factsWords = { title: 'What was found', token: 'Token' };
export const missingTokenWords = { ...factsWords, token: 'Missing token' };

/** Of one token only: the serial number of a lost one does not stand next to a new one. */
export function factsCard(
  { instance, storageId, token: named, newToken, lastGoodMs }: StoreFacts,
  words: { readonly title: string; readonly token: string } = factsWords,
): Html {
  const unknown = html`<span class="soft">not known</span>`;
  const token = newToken ?? named;
  return html`<section class="card facts" aria-labelledby="facts">
    <h2 id="facts">${words.title}</h2>
    <dl>
      <div>
        <dt>${newToken === undefined ? words.token : 'New token'}</dt>
        <dd>${token === undefined ? unknown : name(token.label)}</dd>
      </div>
      <div>
        <dt>Serial number</dt>
        <dd>${token === undefined ? unknown : html`<code>${name(token.serial)}</code>`}</dd>
      </div>
      <div>
        <dt>Last written</dt>
        <dd>
          ${
            lastGoodMs === undefined
              ? html`<span class="soft">not known while the store is closed</span>`
              : timeOf(lastGoodMs)
          }
        </dd>
      </div>
      <div>
        <dt>Instance</dt>
        <dd>${instance === undefined ? unknown : html`<code>${name(instance)}</code>`}</dd>
      </div>
      <div>
        <dt>Store</dt>
        <dd>${storageId === undefined ? unknown : html`<code>${name(storageId)}</code>`}</dd>
      </div>
    </dl>
  </section>`;
}

export function stepList(steps: readonly StepView[]): Html {
  return html`<ol class="steps">
    ${steps.map(
      ({ step, state }) =>
        html`<li data-step="${step}" data-state="${state}">
          <span class="what">${stepWords[step]}</span> <span class="state">${stateWords[state]}</span>
        </li>`,
    )}
  </ol>`;
}

export function stepsCard(steps: readonly StepView[], title: string): Html {
  if (steps.length === 0) return html``;
  return html`<section class="card brief" aria-labelledby="steps">
    <details class="fold" open>
      <summary><h2 id="steps">${title}</h2></summary>
      ${stepList(steps)}
    </details>
  </section>`;
}

/** What is lost, and what is not. */
export function balance(lost: Html, kept: Html): Html {
  return html`<dl class="balance">
    <div class="lost">
      <dt>Lost</dt>
      <dd>${lost}</dd>
    </div>
    <div class="kept">
      <dt>Not lost</dt>
      <dd>${kept}</dd>
    </div>
  </dl>`;
}

/** The reason in words of the error table, for anyone who is asked for help. */
export function detail(problem: Problem): Html {
  return html`<p class="detail">
    <span>${problem.message}</span> <code>${errorTable[problem.reason].code} ${problem.reason}</code>
  </p>`;
}

/** The summary of what went wrong: announced, focusable, and linked with its field if `fields` has it. */
export function problemBox(
  problem: Problem | undefined,
  fields: readonly string[],
  words: ProblemWords | undefined = problem && wordsOf(problem),
): Html {
  if (problem === undefined) return html``;
  const field = words?.field !== undefined && fields.includes(words.field) ? words.field : undefined;
  const title = words?.title ?? 'That did not work';
  // Where a field has the focus, this box describes it.
  return html`<div
    class="note bad"
    id="problem"
    role="alert"
    tabindex="-1"
    ${field === undefined && 'autofocus'}
  >
    <h2>${field === undefined ? title : html`<a href="#${field}">${title}</a>`}</h2>
    <p>${prose(words?.remedy ?? problem.remedy)}</p>
    ${detail(problem)}
  </div>`;
}

/** How a page without an act looks again: by the script, else by itself. */
export const looksAgain = { pollMs: 5000, refreshSeconds: 10 } as const;

export function lookNote(path: string): Html {
  return html`<p class="again">
      <span class="looks"
        ><span class="beat" aria-hidden="true"></span> This page looks again every few seconds.</span
      >
      <a href="${path}">Look again now</a>
    </p>
    <p class="hint" id="stale" role="status"></p>`;
}

/** The attributes of a field: what describes it, and whether it is the one that is wrong. */
export function fieldState(id: string, describedBy: readonly string[], { wrong = false } = {}): Html {
  const ids = [...describedBy, ...(wrong ? ['problem'] : [])].join(' ');
  return html`id="${id}" ${ids !== '' && html`aria-describedby="${ids}"`}
  ${wrong && html`aria-invalid="true" autofocus`}`;
}

/** A token is set up before the password is asked for. */
export function isTokenSetUp({ steps }: ProgressView): boolean {
  const stateOf = (name: StepView['step']) => steps.find(({ step }) => step === name)?.state;
  return stateOf('token') === 'under-way' && stateOf('password') === 'to-come';
}
