// A view of every page of the restore wizard, for its tests and for the pictures in docs/.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { PersistenceError, type Reason } from '../../lib/errors.js';
import { restoreSteps } from '../../lib/restore/steps.js';
import { render, script, stylesheet } from '../../lib/wizard/pages/index.js';
import type { Problem, StepView, StoreFacts, View } from '../../lib/wizard/view.js';

export const facts: StoreFacts = {
  instance: 'licences-eu-1',
  storageId: '15eb5137e1e9073ad875177b3e985a46',
  token: { label: 'acme', serial: '657443451635833b' },
  newToken: undefined,
  lastGoodMs: Date.UTC(2026, 10, 22, 7, 17, 52),
};

/** The first `done` are done; then one in `state`; the rest is to come. */
export function stepsUpTo(done: number, state: StepView['state'] = 'to-come'): StepView[] {
  return restoreSteps.map((step, at) => ({
    step,
    state: at < done ? 'done' : at === done ? state : 'to-come',
  }));
}

export function problemOf(
  reason: Reason,
  message: string,
  retryAfterMs?: number,
  about?: Problem['about'],
): Problem {
  const { remedy } = new PersistenceError(reason, message);
  return { reason, message, remedy, retryAfterMs, ...(about !== undefined && { about }) };
}

/** After a new token was set up: its step is done before the password is asked for. */
const newToken = {
  facts: { ...facts, newToken: { label: 'acme', serial: 'f02c77d1a9b41e60' } },
  steps: restoreSteps.map((step) => ({
    step,
    state: step === 'detect' || step === 'token' ? ('done' as const) : ('to-come' as const),
  })),
};

const base = { facts, steps: stepsUpTo(1), problem: undefined };
const closed = { facts, steps: stepsUpTo(0), problem: undefined };
const csrf = 'dGhlIHRva2VuIG9mIHRoZSBmb3Jt';

/** The new token is the one that the store names. */
const restoredFacts = { ...facts, token: newToken.facts.newToken };

/** By the name of its picture. */
export const views = {
  code: { page: 'code', csrf, problem: undefined },
  'code-wrong': {
    page: 'code',
    csrf,
    problem: problemOf('authority-refused', 'The code is wrong, or it was used before.'),
  },
  password: {
    page: 'password',
    csrf,
    resumes: false,
    wrongAttempts: 0,
    waitMs: 0,
    ...base,
    found: 'kek-missing',
  },
  'password-wrong': {
    page: 'password',
    csrf,
    resumes: false,
    wrongAttempts: 4,
    ...base,
    waitMs: 8000,
    found: 'kek-missing',
    problem: problemOf('password-wrong', 'the backup password does not open the store', 8000),
  },
  'password-new-token': {
    page: 'password',
    csrf,
    resumes: false,
    wrongAttempts: 1,
    waitMs: 0,
    ...newToken,
    found: 'kek-missing',
    problem: problemOf('password-wrong', 'the backup password does not open the store'),
  },
  'password-resumes': {
    page: 'password',
    csrf,
    resumes: true,
    wrongAttempts: 0,
    waitMs: 0,
    facts: restoredFacts,
    steps: stepsUpTo(8, 'failed'),
    problem: problemOf('hook-failed', 'the hook ended with exit code 3: AH00526: Syntax error on line 12'),
  },
  hsm: {
    page: 'hsm',
    csrf,
    hsmType: 'softhsm',
    asksSoPin: true,
    hasUserPin: true,
    ...base,
    found: 'token-missing',
    slots: [
      {
        slotId: 0,
        description: 'SoftHSM slot ID 0x0',
        erases: undefined,
        soPin: 'new',
        pinBytes: { min: 4, max: 255 },
      },
      {
        slotId: 372605755,
        description: 'SoftHSM slot ID 0x1635833b',
        erases: { label: 'staging', serial: '9b1e03d4967a11c2' },
        soPin: 'existing',
        pinBytes: { min: 4, max: 255 },
      },
    ],
    given: { slotId: undefined, label: 'acme' },
  },
  'hsm-pins-differ': {
    page: 'hsm',
    csrf,
    hsmType: 'physical',
    asksSoPin: true,
    hasUserPin: true,
    ...base,
    found: 'token-missing',
    slots: [
      {
        slotId: 1,
        description: 'Card reader, slot 1',
        erases: undefined,
        soPin: 'new',
        pinBytes: { min: 16, max: 16 },
      },
    ],
    given: { slotId: 1, label: 'acme' },
    problem: problemOf(
      'invalid-option',
      'the two PINs of the security officer differ',
      undefined,
      'so-pin-again',
    ),
  },
  'hsm-erase': {
    page: 'hsm',
    csrf,
    hsmType: 'physical',
    ...base,
    found: 'token-missing',
    asksSoPin: false,
    hasUserPin: true,
    slots: [
      {
        slotId: 1,
        description: 'Card reader, slot 1',
        erases: { label: 'staging', serial: '9b1e03d4967a11c2' },
        soPin: 'existing',
        pinBytes: { min: 6, max: 16 },
      },
      {
        slotId: 2,
        description: 'Card reader, slot 2',
        erases: undefined,
        soPin: 'new',
        pinBytes: undefined,
      },
    ],
    given: { slotId: 1, label: 'acme' },
    problem: problemOf('token-not-confirmed', 'slot 1 holds the token staging, and its label was not given'),
  },
  'hsm-none': {
    page: 'hsm',
    csrf,
    hsmType: 'physical',
    asksSoPin: true,
    hasUserPin: true,
    ...base,
    found: 'token-missing',
    slots: [],
    given: { slotId: undefined, label: 'acme' },
  },
  'hsm-no-pin': {
    page: 'hsm',
    csrf,
    hsmType: 'softhsm',
    asksSoPin: true,
    hasUserPin: false,
    ...base,
    found: 'token-missing',
    slots: [
      {
        slotId: 0,
        description: 'SoftHSM slot ID 0x0',
        erases: undefined,
        soPin: 'new',
        pinBytes: { min: 4, max: 255 },
      },
    ],
    given: { slotId: undefined, label: 'acme' },
  },
  progress: { page: 'progress', ...base, steps: stepsUpTo(5, 'under-way') },
  'progress-token': {
    page: 'progress',
    ...base,
    steps: restoreSteps.map((step) => ({
      step,
      state: step === 'detect' ? 'done' : step === 'token' ? 'under-way' : 'to-come',
    })),
  },
  outage: {
    page: 'outage',
    ...closed,
    problem: problemOf('hsm-unreachable', '/usr/lib/softhsm/libsofthsm2.so: no slot answers'),
  },
  pin: { page: 'pin', ...closed, problem: problemOf('pin-wrong', "the token 'acme' does not take the PIN") },
  attention: {
    page: 'attention',
    ...closed,
    problem: problemOf(
      'token-ambiguous',
      "two tokens have the label 'acme': 657443451635833b, 9b1e03d4967a11c2",
    ),
  },
  refused: {
    page: 'refused',
    ...closed,
    problem: problemOf(
      'vault-rolled-back',
      'the vault is at generation 11; the token remembers generation 14',
    ),
  },
  result: {
    page: 'result',
    healed: false,
    facts: restoredFacts,
    problem: undefined,
    steps: restoreSteps.map((step) => ({ step, state: 'done' })),
    completedMs: Date.UTC(2026, 10, 22, 9, 4, 11),
    deactivatedKeys: [
      { id: 'ca-1', why: "lost with the token 'acme', serial number 657443451635833b" },
      { id: 'issuing-2026', why: "lost with the token 'acme', serial number 657443451635833b" },
    ],
    tlsFingerprint: '9f3ac1d20b7e45886a01c4e2f8d17b3350ae6255709ae1b4318398d35b12039e',
    unproven: false,
  },
  'result-one-key': {
    page: 'result',
    healed: false,
    facts: restoredFacts,
    problem: undefined,
    steps: restoreSteps.map((step) => ({ step, state: 'done' })),
    completedMs: Date.UTC(2026, 10, 22, 9, 4, 11),
    deactivatedKeys: [{ id: 'ca-1', why: "lost with the token 'acme', serial number 657443451635833b" }],
    tlsFingerprint: undefined,
    unproven: false,
  },
  'result-unproven': {
    page: 'result',
    healed: false,
    facts: restoredFacts,
    problem: undefined,
    steps: restoreSteps.map((step) => ({
      step,
      state: step === 'hook' || step === 'tls' ? 'skipped' : 'done',
    })),
    completedMs: Date.UTC(2026, 10, 22, 9, 4, 11),
    deactivatedKeys: [],
    tlsFingerprint: undefined,
    unproven: true,
  },
  'result-healed': {
    page: 'result',
    healed: true,
    facts,
    problem: undefined,
    steps: stepsUpTo(0),
    completedMs: Date.UTC(2026, 10, 22, 9, 4, 11),
    deactivatedKeys: [],
    tlsFingerprint: '9f3ac1d20b7e45886a01c4e2f8d17b3350ae6255709ae1b4318398d35b12039e',
    unproven: false,
  },
  error: {
    page: 'error',
    status: 503,
    title: 'The service is closed',
    message: 'Its store needs a restore before it can serve again. Nothing else is answered until then.',
  },
  'error-address': {
    page: 'error',
    status: 421,
    title: 'Wrong address',
    message:
      'The restore page has another address. To use this name as well, start the page with `--name`. Otherwise open `https://vault.example:8443/setup-wizard/`',
    address: 'https://vault.example:8443/setup-wizard/',
  },
} as const satisfies Record<string, View>;

export type ViewName = keyof typeof views;

export const contentSecurityPolicy =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; " +
  "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'";

export interface PageServer {
  readonly origin: string;
  /** What was posted, in order. */
  readonly posted: { readonly path: string; readonly fields: URLSearchParams }[];
  /** The view of `/show`, and of its JSON twin. */
  current: View;
  close(): Promise<void>;
}

/** Serves the pages as the wizard does, but for its guards: `/show/NAME`, and `/show` for the current one. */
export async function servePages(): Promise<PageServer> {
  const posted: PageServer['posted'] = [];
  const server: Server = createServer((request, response) => {
    response.setHeader('content-security-policy', contentSecurityPolicy);
    const reply = (type: string, text: string): void => {
      response.setHeader('content-type', `${type}; charset=utf-8`);
      response.end(text);
    };
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (request.method === 'POST') {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        posted.push({ path, fields: new URLSearchParams(Buffer.concat(parts).toString()) });
        response.writeHead(303, { location: '/show' }).end();
      });
      return;
    }
    if (path === '/setup-wizard/style.css') return reply('text/css', stylesheet);
    if (path === '/setup-wizard/live.js') return reply('text/javascript', script);
    const view = path.startsWith('/show/') ? views[path.slice('/show/'.length) as ViewName] : handle.current;
    if (request.headers.accept === 'application/json') return reply('application/json', JSON.stringify(view));
    reply('text/html', render(view));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const handle: PageServer = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posted,
    current: views.error,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return handle;
}
