// The pages of the restore wizard: a pure function from a view to a document, a stylesheet and a script. They wholly work
// without the script.
import { printable } from '../../base/printable.js';
import type { View } from '../view.js';
import { codePage, hsmPage, passwordPage } from './forms.js';
import { layout, type PageParts } from './layout.js';
import { errorPage, progressPage, resultPage, waitingPage } from './states.js';

export { script } from './script.js';
export { stylesheet } from './style.js';

/** A whole HTML document. Names and messages may be anything: they are shown harmlessly. */
export function render(view: View): string {
  const harmless = withPrintableText(view) as View;
  const document = layout(harmless, partsOf(harmless));
  if (document instanceof Promise) throw new TypeError('a page is made of what is there, not of promises');
  return document.toString();
}

/** Every text of the view, so that no page can forget one. */
function withPrintableText(value: unknown): unknown {
  if (typeof value === 'string') return printable(value);
  if (Array.isArray(value)) return value.map(withPrintableText);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withPrintableText(each)]));
}

function partsOf(view: View): PageParts {
  switch (view.page) {
    case 'code':
      return codePage(view);
    case 'password':
      return passwordPage(view);
    case 'hsm':
      return hsmPage(view);
    case 'progress':
      return progressPage(view);
    case 'outage':
    case 'pin':
    case 'attention':
    case 'refused':
      return waitingPage(view);
    case 'result':
      return resultPage(view);
    case 'error':
      return errorPage(view);
  }
}
