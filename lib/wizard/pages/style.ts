// The one stylesheet: system fonts, light and dark, from 320 px, forced colours, reduced motion, paper.
export const stylesheet = `:root {
  color-scheme: light dark;
  --paper: #f3f5f4;
  --card: #fff;
  --ink: #1a2124;
  --soft: #55616a;
  --line: #d6dddb;
  --edge: #78848b;
  --key: #0b6455;
  --key-ink: #fff;
  --key-dim: #e2f1ec;
  --bad: #a4231a;
  --bad-ink: #fff;
  --bad-dim: #fcebe8;
  --warn: #7a4b00;
  --warn-dim: #fdf1da;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #111618;
    --card: #1a2124;
    --ink: #e7ebec;
    --soft: #a5b1b7;
    --line: #333e43;
    --edge: #84929a;
    --key: #63ceb3;
    --key-ink: #05231d;
    --key-dim: #16332c;
    --bad: #ff9f93;
    --bad-ink: #3a0905;
    --bad-dim: #3b1e1a;
    --warn: #f0c268;
    --warn-dim: #362b14;
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0;
  min-height: 100vh;
  display: flex;
  flex-direction: column;
  background: var(--paper);
  color: var(--ink);
  font: 1rem/1.55 -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", system-ui, sans-serif;
  overflow-wrap: break-word;
}
.wrap { width: 100%; max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
main.wrap { flex: 1; padding-top: 1.5rem; padding-bottom: 3rem; }
header { background: var(--card); border-bottom: 1px solid var(--line); }
header .wrap { display: flex; align-items: center; gap: 1rem; min-height: 3.5rem; }
.brand { display: flex; align-items: center; gap: .6rem; font-weight: 650; letter-spacing: -.01em; }
.who { margin-left: auto; min-width: 0; color: var(--soft); text-align: right; overflow-wrap: anywhere; }
.mark rect { fill: var(--key); }
.mark circle, .mark path { fill: none; stroke: var(--card); stroke-width: 2.5; }
footer { color: var(--soft); font-size: .85rem; }
footer .wrap { padding-bottom: 1.5rem; }
footer p { margin: 0; }

h1, h2 { line-height: 1.2; letter-spacing: -.015em; text-wrap: balance; }
h1 { margin: 0 0 .75rem; font-size: clamp(1.6rem, 1.3rem + 1.4vw, 2.1rem); font-weight: 680; }
h2 { margin: 0 0 .75rem; font-size: 1.05rem; font-weight: 650; }
p { margin: 0 0 .75rem; }
p:last-child { margin-bottom: 0; }
a { color: var(--key); text-underline-offset: .2em; }
code { display: inline-block; max-width: 100%; font-family: var(--mono); font-size: .875em; overflow-wrap: anywhere; }
.lead { margin-bottom: 1.5rem; max-width: 38rem; font-size: 1.075rem; color: var(--soft); text-wrap: balance; }
.lead strong { color: var(--ink); }
.soft, .hint { color: var(--soft); }
.hint { font-size: .9rem; }
.hint:empty { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.status { margin-bottom: .25rem; color: var(--soft); }

.columns { display: grid; gap: 1.25rem 2.5rem; }
.column { min-width: 0; }
.single { max-width: 40rem; }
.card, .note { margin-bottom: 1.25rem; padding: 1.25rem; border: 1px solid var(--line); border-radius: .75rem; }
.card { background: var(--card); }
.quiet { background: none; font-size: .925rem; color: var(--soft); }
.quiet h2 { color: var(--ink); }
.note { border-left-width: .3rem; }
.note h2 { margin-bottom: .35rem; }
.bad.note { background: var(--bad-dim); border-color: var(--bad); }
.bad.note h2, .bad.note a { color: var(--bad); }
.warn.note { background: var(--warn-dim); border-color: var(--warn); }
.warn.note h2 { color: var(--warn); }
.good.note, .wait.note { background: var(--key-dim); border-color: var(--key); }
.good.note h2, .wait.note h2 { color: var(--key); }
.detail { font-size: .85rem; }
.detail code { display: block; color: var(--soft); }

.stages { display: flex; gap: .4rem; margin: 0 0 2rem; padding: 0; list-style: none; }
.stages li { flex: 1; padding-top: .5rem; border-top: .25rem solid var(--line); font-size: .85rem; color: var(--soft); }
.stages .done { border-color: var(--key); }
.stages .current, .stages .current.done { border-color: var(--key); color: var(--ink); font-weight: 650; }
.stages .done .stage::after { content: ""; display: inline-block; width: .3em; height: .62em; margin-left: .5em; border: solid var(--key); border-width: 0 .14em .14em 0; transform: rotate(42deg) translate(-.05em, -.1em); }
@media (max-width: 34rem) {
  .stages { margin-bottom: 1.5rem; }
  .stages li { flex: 1 1 0; }
  .stages li.current { flex: none; min-width: 20%; }
  .stages li:not(.current) .stage { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
}

label, legend { display: block; font-weight: 600; }
legend { padding: 0; margin-bottom: .5rem; }
label + .hint { margin: 0 0 .4rem; }
fieldset { margin: 0 0 1.25rem; padding: 0; border: 0; min-width: 0; }
input:not([type="radio"]) {
  display: block;
  width: 100%;
  min-height: 2.9rem;
  margin: .25rem 0 1.25rem;
  padding: .5rem .75rem;
  border: 1px solid var(--edge);
  border-radius: .5rem;
  background: var(--paper);
  color: var(--ink);
  font: inherit;
}
input.code { font-family: var(--mono); font-size: 1.15rem; letter-spacing: .08em; }
input[aria-invalid] { border: 2px solid var(--bad); }
input[type="password"] + .hint { margin-top: -.75rem; }
button {
  min-height: 2.9rem;
  padding: .5rem 1.5rem;
  border: 1px solid transparent;
  border-radius: .5rem;
  background: var(--key);
  color: var(--key-ink);
  font: inherit;
  font-weight: 650;
  cursor: pointer;
}
button:hover { filter: brightness(1.08); }
button[aria-disabled] { background: var(--paper); border-color: var(--edge); color: var(--soft); cursor: not-allowed; filter: none; }
button.copy { min-height: 2.25rem; padding: .25rem 1rem; margin-right: .5rem; background: none; border-color: var(--edge); color: var(--ink); font-weight: 500; }
:focus-visible { outline: 3px solid var(--key); outline-offset: 2px; }
[tabindex="-1"]:focus { outline: 3px solid var(--key); outline-offset: 2px; }
details { margin-top: 1.25rem; font-size: .925rem; color: var(--soft); }
summary { width: fit-content; min-height: 1.5rem; cursor: pointer; color: var(--ink); }
details p { margin: .5rem 0 0; }
.fold { margin: 0; font-size: inherit; }
.fold summary { width: auto; }
.fold summary h2 { display: inline; }
.fold .steps { margin-top: 1rem; }

.slot { display: flex; gap: .75rem; margin-bottom: .5rem; padding: .85rem 1rem; border: 1px solid var(--edge); border-radius: .5rem; font-weight: 400; cursor: pointer; }
.slot input { flex: none; width: 1.25rem; height: 1.25rem; margin: .15rem 0 0; accent-color: var(--key); }
.slot > span { min-width: 0; }
.slot:has(:checked) { border-color: var(--key); background: var(--key-dim); box-shadow: 0 0 0 1px var(--key); }
.slot:has(.erases:checked) { border-color: var(--bad); background: var(--bad-dim); box-shadow: 0 0 0 1px var(--bad); }
.slot input.erases { accent-color: var(--bad); }
.slot-name { font-weight: 600; margin-right: .4rem; }
.tag { display: block; margin-top: .15rem; font-size: .9rem; }
.tag.good { color: var(--key); }
.tag.bad { color: var(--bad); }
.own-pin { margin: 0 0 1.25rem; padding-left: .9rem; border-left: .2rem solid var(--line); font-size: .9rem; }
.grim { display: none; }
@supports selector(:has(a)) {
  form:not(:has(.erases:checked)) .erasing, form:has(.erases:checked) .choosing { display: none; }
  form:has(.erases:checked) .calm { display: none; }
  form:has(.erases:checked) .grim { display: inline; }
  form:has(.erases:checked) button { background: var(--bad); color: var(--bad-ink); }
}

.balance { display: grid; gap: 1rem 2rem; margin: 1.75rem 0; }
.balance dt { font-weight: 650; }
.balance dd { margin: .15rem 0 0; color: var(--soft); }
.balance > div { padding-left: .9rem; border-left: .2rem solid var(--edge); }
.balance .kept { border-color: var(--key); }
@media (min-width: 34rem) { .balance { grid-template-columns: 1fr 1fr; } }

.facts dl { margin: 0; display: grid; gap: .75rem; }
.facts dt { font-size: .85rem; color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }

.steps { margin: 0; padding: 0; list-style: none; }
.steps li { position: relative; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; padding: 0 0 .8rem 2rem; color: var(--soft); }
.steps li:last-child { padding-bottom: 0; }
.steps li::before { content: ""; position: absolute; left: 0; top: .2rem; width: 1.15rem; height: 1.15rem; border: 2px solid var(--edge); border-radius: 50%; background: var(--card); z-index: 1; }
.steps li:not(:last-child)::after { content: ""; position: absolute; left: calc(.575rem - 1px); top: 1rem; bottom: -.2rem; border-left: 2px solid var(--line); }
.steps .state { font-size: .85rem; }
.steps + .hint, .steps + .hint + noscript .hint { margin-top: 1.25rem; }
.brief .steps { font-size: .95rem; }
.brief .steps li { flex-wrap: nowrap; padding-bottom: .7rem; }
.brief .steps li:last-child { padding-bottom: 0; }
.brief [data-state="done"] .state, .brief [data-state="to-come"] .state { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.steps .state { white-space: nowrap; line-height: 1.8; }
@media (max-width: 34rem) {
  .steps li { flex-wrap: nowrap; }
  .steps [data-state="done"] .state, .steps [data-state="to-come"] .state { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
}
.steps [data-state="done"], .steps [data-state="under-way"], .steps [data-state="failed"] { color: var(--ink); }
.steps [data-state="done"] .state { color: var(--key); }
.steps [data-state="done"]::before { border: 2px solid var(--key); background: var(--key) var(--check) center / .7rem no-repeat; }
.steps [data-state="done"]:not(:last-child)::after { border-color: var(--key); }
.steps [data-state="under-way"] { font-weight: 650; }
.steps [data-state="under-way"]::before { border: 3px solid var(--key); border-right-color: transparent; animation: turn 1s linear infinite; }
.steps [data-state="skipped"]::before { border-style: dashed; }
.steps [data-state="failed"] .state { color: var(--bad); font-weight: 650; }
.steps [data-state="failed"]::before { border-color: var(--bad); background: linear-gradient(var(--bad), var(--bad)) center / .5rem 2px no-repeat; }
@keyframes turn { to { transform: rotate(1turn); } }
:root { --check: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 12 12'%3E%3Cpath d='M2 6.5l3 3 5-7' fill='none' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E"); }
@media (prefers-color-scheme: dark) {
  :root { --check: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 12 12'%3E%3Cpath d='M2 6.5l3 3 5-7' fill='none' stroke='%2305231d' stroke-width='2'/%3E%3C/svg%3E"); }
}
.now { margin-bottom: .75rem; font-weight: 650; }
progress { display: block; width: 100%; height: .5rem; margin-bottom: 1.5rem; border: 0; border-radius: 1rem; background: var(--line); overflow: hidden; appearance: none; }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--key); border-radius: 1rem; transition: inline-size .4s; }
progress::-moz-progress-bar { background: var(--key); }

.again { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .75rem; }
.again a { display: inline-block; padding: .25rem 0; font-weight: 600; }
.looks { display: flex; align-items: baseline; gap: .6rem; }
.beat { flex: none; width: .7rem; height: .7rem; border-radius: 50%; background: var(--key); animation: beat 2.4s ease-in-out infinite; }
@keyframes beat { 50% { opacity: .25; } }
.seal { display: inline-block; width: 1.1em; height: 1.1em; margin-right: .45em; border-radius: 50%; vertical-align: -.14em; background: var(--key) var(--check) center / .66em no-repeat; }
.print { display: block; margin-bottom: .75rem; padding: .75rem 1rem; border-radius: .5rem; background: var(--paper); font-size: .95rem; line-height: 1.8; user-select: all; }
.print span { display: inline-block; margin-right: .6em; }
.keys { margin: 0; padding: 0; list-style: none; }
.keys li { padding: .6rem 0; border-top: 1px solid var(--line); }
.keys li:last-child { padding-bottom: 0; }
.keys code { display: block; font-weight: 650; }
.keys .soft { font-size: .925rem; }
.plain { margin: 0; padding-left: 1.25rem; }
.plain li + li { margin-top: .4rem; }

@media (min-width: 56rem) {
  main.wrap { padding-top: 2.25rem; }
  .columns { grid-template-columns: minmax(0, 1fr) 20.5rem; }
  .card, .note { padding: 1.5rem; }
  .column > form.card { padding: 1.75rem; }
}
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after { animation: none !important; transition: none !important; }
}
@media (forced-colors: active) {
  .steps [data-state="done"]::before, .seal, .beat { forced-color-adjust: none; background-color: Highlight; }
  .steps [data-state="under-way"]::before { border-color: Highlight; border-right-color: Canvas; }
  .mark rect { fill: Highlight; }
  progress { border: 1px solid CanvasText; }
  progress::-webkit-progress-value { forced-color-adjust: none; background: Highlight; }
  .stages .current { border-color: Highlight; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #333; --line: #999; --key: #000; --key-dim: #fff; --warn-dim: #fff; --bad-dim: #fff; }
  form, .again, button, .stages, footer { display: none !important; }
  .columns { display: block; }
  .steps li::before, .seal { print-color-adjust: exact; }
  .card, .note { break-inside: avoid; }
}
`;
