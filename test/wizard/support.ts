// A wizard that serves a real store over real TLS, and browsers that trust its certificate and nothing else.
import assert from 'node:assert/strict';
import { Agent, request, type AgentOptions } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';

import {
  makeWizard,
  type Listening,
  type Wizard,
  type WizardEvent,
  type WizardOptions,
} from '../../lib/wizard/index.js';
import type { WizardParts } from '../../lib/wizard/index.js';
import type { HsmWorld } from '../support/softhsm.js';
import { binding } from '../support/stores.js';

export const passwordPath = '/setup-wizard/auto_restore_password/';
export const codePath = '/setup-wizard/code/';
export const progressPath = '/setup-wizard/progress/';
export const resultPath = '/setup-wizard/result/';
export const hsmPath = (type = 'softhsm'): string => `/setup-wizard/auto-restore-hsm-setup/${type}/`;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  json(): any;
}

export interface Ask {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

export type Form = Record<string, string>;

/** Keeps cookies as a browser does, sends the origin with a form, and follows nothing. */
export class Browser {
  readonly agent: Agent;
  readonly cookies = new Map<string, string>();

  constructor(
    readonly site: Listening,
    options: AgentOptions = {},
  ) {
    this.agent = new Agent({ ca: site.certificate, keepAlive: true, maxSockets: 24, ...options });
  }

  get origin(): string {
    return `https://127.0.0.1:${this.site.port}`;
  }

  ask(method: string, path: string, { headers = {}, body }: Ask = {}): Promise<Answer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: this.site.port,
          method,
          path,
          agent: this.agent,
          // Else the certificate would be compared with the Host header.
          servername: '',
          headers: {
            ...(cookie !== '' && { cookie }),
            ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            for (const line of response.headers['set-cookie'] ?? []) {
              const [pair = ''] = line.split(';');
              const at = pair.indexOf('=');
              this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
            }
            const text = Buffer.concat(chunks).toString();
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text,
              json: () => JSON.parse(text),
            });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  get(path: string): Promise<Answer> {
    return this.ask('GET', path, { headers: { accept: 'text/html' } });
  }

  json(path: string): Promise<Answer> {
    return this.ask('GET', path, { headers: { accept: 'application/json' } });
  }

  post(path: string, form: Form, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('POST', path, {
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'text/html',
        origin: this.origin,
        ...headers,
      },
      body: new URLSearchParams(form).toString(),
    });
  }

  postJson(path: string, document: object, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('POST', path, {
      headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
      body: JSON.stringify(document),
    });
  }

  /** The token in the form of a page. */
  async csrf(path: string): Promise<string> {
    const { text, status } = await this.get(path);
    const token = /name="csrf" value="([^"]+)"/.exec(text)?.[1];
    assert.ok(token !== undefined, `${path} has no form: ${status}`);
    return token;
  }

  /** Fills in a page's form. */
  async submit(path: string, form: Form): Promise<Answer> {
    return this.post(path, { csrf: await this.csrf(path), ...form });
  }

  async enter(code: string): Promise<void> {
    const answer = await this.submit(codePath, { code });
    assert.equal(answer.status, 303, answer.text);
  }

  /** The view as soon as nothing is under way. */
  async settled(): Promise<any> {
    for (;;) {
      const answer = await this.json(progressPath);
      const seen = answer.status === 303 ? await this.json(answer.headers.location ?? '') : answer;
      const view = seen.json();
      if (view.page !== 'progress') return view;
    }
  }

  close(): void {
    this.agent.destroy();
  }
}

/** One wizard over one world. */
export class Rig {
  readonly events: WizardEvent[] = [];
  readonly #browsers: Browser[] = [];
  readonly #waiting: (() => void)[] = [];
  wizard!: Wizard;
  site!: Listening;

  static async start(
    world: HsmWorld,
    options: Partial<WizardOptions> = {},
    parts: WizardParts = {},
  ): Promise<Rig> {
    const rig = new Rig();
    rig.wizard = await makeWizard(
      binding,
      {
        directory: world.directory,
        protector: world.protector(),
        resultGraceMs: 0,
        ...options,
        onEvent: (event) => {
          rig.events.push(event);
          for (const wake of rig.#waiting.splice(0)) wake();
        },
      },
      { throttle: world.throttle, ...parts },
    );
    rig.site = await rig.wizard.listen({ port: 0 });
    return rig;
  }

  get code(): string {
    const codes = this.events.flatMap((event) => (event.event === 'code' ? [event.code] : []));
    return codes.at(-1) ?? '';
  }

  browser(options: AgentOptions = {}): Browser {
    const browser = new Browser(this.site, options);
    this.#browsers.push(browser);
    return browser;
  }

  /** One that has a session. */
  async insider(): Promise<Browser> {
    const browser = this.browser();
    await browser.enter(this.code);
    return browser;
  }

  /** The first event that fits, past or to come. */
  async until(fits: (event: WizardEvent) => boolean): Promise<WizardEvent> {
    for (;;) {
      const found = this.events.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Bytes over TLS, and all that comes back until the server closes, or `enough` is true. */
  async raw(bytes: string | Uint8Array, enough: (text: string) => boolean = () => false): Promise<string> {
    const socket = await this.socket();
    let text = '';
    return new Promise((resolve, reject) => {
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (enough(text)) socket.destroy();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
      });
      socket.on('close', () => {
        resolve(text);
      });
      socket.write(bytes);
    });
  }

  socket(localAddress?: string): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect(
        {
          host: '127.0.0.1',
          port: this.site.port,
          ca: this.site.certificate,
          ...(localAddress !== undefined && { localAddress }),
        },
        () => {
          resolve(socket);
        },
      );
      socket.once('error', reject);
    });
  }

  async stop(): Promise<void> {
    for (const browser of this.#browsers) browser.close();
    await this.wizard.close();
  }
}
