// Additions of the script: live progress, a countdown, folded steps on a phone, a warning of Caps Lock, a button to copy,
// the reader's own time. It sends nothing but what the forms send.
import { stateWords } from './words.js';

export const script = `'use strict';
(() => {
  const stateWords = ${JSON.stringify(stateWords)};
  const byId = (id) => document.getElementById(id);
  const say = (id, text) => {
    const place = byId(id);
    if (place && place.textContent !== text) place.textContent = text;
  };
  const body = document.body;

  for (const time of document.querySelectorAll('time')) {
    const date = new Date(time.dateTime);
    if (date.getTimezoneOffset() === 0) continue;
    const own = date.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
    time.append(' (' + own + ' where you are)');
  }

  const pollMs = Number(body.dataset.poll);
  if (pollMs > 0) {
    const here = location.pathname;
    let failures = 0;
    const show = (steps) => {
      const settled = (step) => step.state === 'done' || step.state === 'skipped';
      for (const { step, state } of steps) {
        const item = document.querySelector('li[data-step="' + step + '"]');
        if (!item || item.dataset.state === state) continue;
        item.dataset.state = state;
        item.querySelector('.state').textContent = stateWords[state];
      }
      const bar = byId('bar');
      if (!bar) return;
      const done = steps.filter(settled).length;
      const underWay = steps.findIndex((step) => step.state === 'under-way');
      const at = underWay >= 0 ? underWay : steps.findIndex((step) => !settled(step));
      bar.value = done;
      document.title = document.title.replace(/\\d+ of \\d+/, done + ' of ' + steps.length);
      const item = at < 0 ? null : document.querySelector('li[data-step="' + steps[at].step + '"] .what');
      say('live', item ? 'Step ' + (at + 1) + ' of ' + steps.length + ': ' + item.textContent : 'All steps are done');
    };
    const ask = async () => {
      try {
        const response = await fetch(here, {
          headers: { accept: 'application/json' },
          cache: 'no-store',
          signal: AbortSignal.timeout(10000),
        });
        if (!(response.headers.get('content-type') || '').includes('application/json')) {
          // The service has replaced this page.
          location.replace('/');
          return;
        }
        const view = await response.json();
        failures = 0;
        say('stale', '');
        const shown = [view.page, view.problem ? view.problem.reason : '', view.slots ? view.slots.length : ''].join(' ');
        if (shown !== body.dataset.shown) {
          location.replace(response.redirected ? response.url : here);
          return;
        }
        if (view.steps) show(view.steps);
      } catch {
        failures += 1;
        if (failures > 1) {
          say('stale', 'The server does not answer just now. This page asks again. If the restore is completed, the service is starting.');
        }
      }
      setTimeout(ask, pollMs * Math.min(1 + failures, 5));
    };
    setTimeout(ask, pollMs);
  }

  // On a phone the form comes first, and the rest can be unfolded.
  if (matchMedia('(max-width: 55.99rem)').matches)
    for (const fold of document.querySelectorAll('details.fold')) fold.open = false;

  const wait = byId('wait');
  const form = wait && wait.closest('form');
  let until = 0;
  if (form) {
    const button = form.querySelector('button[type="submit"]');
    until = performance.now() + Number(wait.dataset.wait);
    button.setAttribute('aria-disabled', 'true');
    const tick = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left > 0) {
        const minutes = Math.floor(left / 60);
        const seconds = left % 60;
        say('wait-left', (minutes ? minutes + ' min ' : '') + (seconds || !minutes ? seconds + ' s' : ''));
        setTimeout(tick, 250);
      } else {
        until = 0;
        wait.setAttribute('role', 'status');
        wait.textContent = 'You can try again now.';
        button.removeAttribute('aria-disabled');
      }
    };
    tick();
  }

  for (const each of document.querySelectorAll('form')) {
    const button = each.querySelector('button[type="submit"]');
    let sent = false;
    each.addEventListener('submit', (event) => {
      if (sent || (each === form && performance.now() < until)) {
        event.preventDefault();
        return;
      }
      sent = true;
      // A label that was typed before another slot was chosen.
      const erase = each.elements.namedItem('erase');
      if (erase && !each.querySelector('.erases:checked')) erase.value = '';
      button.setAttribute('aria-disabled', 'true');
      if (each.dataset.busy) button.textContent = each.dataset.busy;
    });
    // Brought back from the cache of the browser, it is to be sent again, with a new token.
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) location.reload();
    });
  }

  const password = byId('password');
  if (password) {
    password.addEventListener('keyup', (event) => {
      const on = event.getModifierState && event.getModifierState('CapsLock');
      say('caps', on ? 'Caps Lock is on.' : '');
    });
  }

  for (const button of document.querySelectorAll('button[data-copy]')) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
        say('copied', 'Copied.');
      } catch {
        say('copied', 'The browser did not allow it. Select the text instead.');
      }
    });
  }
})();
`;
