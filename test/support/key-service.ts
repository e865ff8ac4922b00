// A key management service over HTTP: a real server on this machine, which a test makes silent, broken or forbidding.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { ExternalProtectorOptions } from '../../lib/protectors/external.js';

/** The functions of a client of a KeyService. */
export function askingOver(url: string): ExternalProtectorOptions {
  const ask = async (path: string, bytes: Uint8Array, context: Uint8Array): Promise<Uint8Array> => {
    const [first, second] = [bytes, context].map((each) => Buffer.from(each).toString('base64'));
    const body = JSON.stringify({ bytes: first, context: second });
    const response = await fetch(new URL(path, url), { method: 'POST', body });
    const answer = (await response.json()) as { readonly bytes: string };
    return Buffer.from(answer.bytes, 'base64');
  };
  return {
    type: 'external',
    wrap: (key, context) => ask('wrap', key, context),
    unwrap: (wrapped, context) => ask('unwrap', wrapped, context),
  };
}

/** `blocked`: a proxy before the service refuses, in its own words. */
export type Mood = 'serving' | 'silent' | 'broken' | 'blocked' | 'forbidding';

function refuse(response: ServerResponse, status: number, error: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
}

const nonceBytes = 12;
const tagBytes = 16;

export class KeyService {
  mood: Mood = 'serving';
  /** Of the proxy. */
  proxyStatus = 403;
  /** The paths that were asked for. */
  readonly calls: string[] = [];
  #key = randomBytes(32);
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  static async started(): Promise<KeyService> {
    const service = new KeyService();
    service.#server.listen(0, '127.0.0.1');
    await once(service.#server, 'listening');
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** What it has wrapped so far it unwraps no more. */
  loseKey(): void {
    this.#key = randomBytes(32);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const path = request.url ?? '';
    this.calls.push(path);
    if (this.mood === 'silent') return;
    if (this.mood === 'broken') return refuse(response, 503, 'Unavailable');
    if (this.mood === 'forbidding') return refuse(response, 403, 'AccessDenied');
    if (this.mood === 'blocked') {
      response.writeHead(this.proxyStatus, { 'content-type': 'text/html' }).end('<h1>Forbidden</h1>');
      return;
    }
    const { bytes, context } = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
    const work = path.endsWith('/wrap') ? this.#wrap : this.#unwrap;
    try {
      const answer = work.call(this, Buffer.from(bytes!, 'base64'), Buffer.from(context!, 'base64'));
      response.end(JSON.stringify({ bytes: answer.toString('base64') }));
    } catch {
      refuse(response, 400, 'InvalidCiphertext');
    }
  }

  #wrap(key: Buffer, context: Buffer): Buffer {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(context);
    return Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  }

  #unwrap(wrapped: Buffer, context: Buffer): Buffer {
    const decipher = createDecipheriv('aes-256-gcm', this.#key, wrapped.subarray(0, nonceBytes))
      .setAAD(context)
      .setAuthTag(wrapped.subarray(-tagBytes));
    return Buffer.concat([decipher.update(wrapped.subarray(nonceBytes, -tagBytes)), decipher.final()]);
  }
}
