// The frame of every page. No script, style or handler stands in it: the content security policy allows files only.
import { html } from 'hono/html';

import type { View } from '../view.js';
import { isTokenSetUp, name, type Html } from './parts.js';
import { stages } from './words.js';

/** What a page puts into the frame. */
export interface PageParts {
  readonly title: string;
  readonly main: Html;
  readonly aside: Html | undefined;
  /** The script asks for the JSON twin this often. */
  readonly pollMs?: number;
  /** Without the script the page loads itself again this often. */
  readonly refreshSeconds?: number;
}

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect x='2' y='2' width='28' height='28' rx='7' fill='%230b6455'/%3E%3Ccircle cx='16' cy='16' r='7' fill='none' stroke='%23fff' stroke-width='2.5'/%3E%3Cpath d='M16 5v6M16 21v6M5 16h6M21 16h6' stroke='%23fff' stroke-width='2.5'/%3E%3C/svg%3E";

/** The door of a strongroom. */
const mark = html`<svg
  class="mark"
  viewBox="0 0 32 32"
  width="28"
  height="28"
  aria-hidden="true"
  focusable="false"
>
  <rect x="2" y="2" width="28" height="28" rx="7" />
  <circle cx="16" cy="16" r="7" />
  <path d="M16 5v6M16 21v6M5 16h6M21 16h6" />
</svg>`;

function stageList(view: View): Html {
  const { page } = view;
  const shown =
    page === 'progress' && isTokenSetUp(view)
      ? 'hsm'
      : page === 'password' && view.resumes
        ? 'progress'
        : page;
  const at = stages.findIndex(({ pages }) => pages.includes(shown));
  const current = stages[at];
  // A store that opened by itself went through none of them.
  if (current === undefined || (view.page === 'result' && view.healed)) return html``;
  // The last stage is reached, not under way.
  const done = page === 'result' ? stages.length : at;
  return html`<ol class="stages" aria-label="Stages">
    ${stages.map(
      ({ name: stage }, index) =>
        html`<li
          class="${index < done && 'done'} ${index === at && 'current'}"
          ${index === at && html`aria-current="step"`}
        >
          <span class="stage">${stage}</span>${index < done && html`<span class="unseen">, done</span>`}
        </li>`,
    )}
  </ol>`;
}

/** What the script compares with the newest view: a page that says something else is loaded again. */
function shownKey(view: View): string {
  const problem = 'problem' in view ? view.problem : undefined;
  const slots = 'slots' in view ? view.slots.length : '';
  return [view.page, problem?.reason ?? '', slots].join(' ');
}

export function layout(view: View, { title, main, aside, pollMs, refreshSeconds }: PageParts): Html {
  const facts = 'facts' in view ? view.facts : undefined;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>${title} - Strongroom</title>
        <link rel="icon" href="${icon}" />
        <link rel="stylesheet" href="/setup-wizard/style.css" />
        <script src="/setup-wizard/live.js" defer></script>
        ${
          refreshSeconds !== undefined &&
          html`<noscript><meta http-equiv="refresh" content="${refreshSeconds}" /></noscript>`
        }
      </head>
      <body data-shown="${shownKey(view)}" ${pollMs !== undefined && html`data-poll="${pollMs}"`}>
        <header>
          <div class="wrap">
            <span class="brand">${mark} Strongroom</span>
            ${
              facts?.instance !== undefined &&
              html`<span class="who"
                ><span class="unseen">Instance </span><code>${name(facts.instance)}</code></span
              >`
            }
          </div>
        </header>
        <main class="wrap">
          ${stageList(view)}
          <div class="${aside === undefined ? 'single' : 'columns'}">
            <div class="column">${main}</div>
            ${aside !== undefined && html`<div class="column">${aside}</div>`}
          </div>
        </main>
        <footer>
          <div class="wrap">
            <p>The restore page exists only while the store is closed.</p>
          </div>
        </footer>
      </body>
    </html>`;
}
