// The pages.
import type { View } from '../view.js';

const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

function fields(view: View): string {
  const field = (name: string, type = 'text'): string =>
    `<label>${name} <input name="${name}" type="${type}" autocomplete="off"></label>`;
  if (view.page === 'code') return field('code');
  if (view.page === 'password') return field('password', 'password');
  if (view.page === 'hsm')
    return field('slotId') + field('label') + field('soPin', 'password') + field('erase');
  return '';
}

/** A whole HTML document. */
export function render(view: View): string {
  const csrf =
    'csrf' in view
      ? `<form method="post"><input type="hidden" name="csrf" value="${view.csrf}">${fields(view)}<button>Go on</button></form>`
      : '';
  const refresh =
    view.page === 'progress' || view.page === 'outage'
      ? '<noscript><meta http-equiv="refresh" content="2"></noscript>'
      : '';
  const shown = JSON.stringify({ ...view, csrf: undefined }, undefined, 2);
  return `<!doctype html><html lang="en"><head><title>${view.page}</title>${refresh}<link rel="stylesheet" href="/setup-wizard/style.css"></head><body><pre>${escape(shown)}</pre>${csrf}</body></html>`;
}

export const stylesheet = 'body { font-family: system-ui }';
export const script = '';
