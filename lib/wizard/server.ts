// The wizard over TLS: a certificate that lives as long as this process, and limits within which a client that is slow, or
// comes in crowds, holds nobody up.
//
// Invariant: the certificate's key is never written, and its buffer is wiped as soon as OpenSSL has read it.
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import { hostname } from 'node:os';

import { getRequestListener } from '@hono/node-server';

import { PersistenceError } from '../errors.js';
import type { NativeBinding } from '../native-binding.js';
import { reading, toPersistenceError } from '../native/errors.js';
import { readOptions } from '../options/readers.js';
import { bodyBytesMax } from './body.js';
import { hostName, type ReadWizardOptions } from './options.js';

export interface ListenOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface Listening {
  /** Of the pages, such as `https://127.0.0.1:8443/setup-wizard/`: by `origin`, else by the first of `names`, else by the host. */
  readonly url: string;
  readonly port: number;
  /** The temporary certificate, PEM. */
  readonly certificate: string;
  /** Its SHA-256, in hexadecimal with colons. */
  readonly fingerprint: string;
}

/** Longer than anybody waits for the operator: the wizard of a weekend must not be one with an expired certificate. */
const lifetimeSeconds = 31 * 86_400;
/** Milliseconds and bytes, as of node:https. */
export const serverLimits = {
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  handshakeTimeout: 10_000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8192,
};
const headersMax = 64;
const connectionsMax = 128;
const connectionsOfAnAddressMax = 32;
const goodbyeMs = 1000;

type FetchHandler = (request: Request, env: unknown) => Response | Promise<Response>;

/** For node:http and node:https. The body of a request is read into a buffer that is wiped when it is answered. */
export function listenerOf(fetch: FetchHandler): RequestListener {
  const listener = getRequestListener(fetch, { overrideGlobalObjects: false });
  const answer = async (
    incoming: IncomingMessage & { rawBody?: Buffer },
    outgoing: ServerResponse,
  ): Promise<void> => {
    const body = await takeBody(incoming);
    try {
      // Where the adapter finds it, in place of a stream that would copy it once more.
      if (body !== undefined) incoming.rawBody = body;
      await listener(incoming, outgoing);
    } finally {
      body?.fill(0);
    }
  };
  return (incoming, outgoing) => {
    requireExchange(incoming, outgoing);
    answer(incoming, outgoing).catch(() => {
      // The client went away in the middle of its body.
      outgoing.destroy();
    });
  };
}

function requireExchange(incoming: unknown, outgoing: unknown): void {
  const fit = reading(() => {
    const { headers } = Object(incoming) as { headers?: unknown };
    const { destroy } = Object(outgoing) as { destroy?: unknown };
    return typeof headers === 'object' && headers !== null && typeof destroy === 'function';
  });
  if (fit) return;
  throw new PersistenceError('invalid-argument', 'the listener takes a request and a response of node:http');
}

function readListenOptions(where: unknown): { host: string; port: number } {
  const { host = '127.0.0.1', port } = readOptions(where, ['host', 'port']);
  if (typeof host !== 'string' || (isIP(host) === 0 && !hostName.test(host)))
    throw new PersistenceError('invalid-option', 'host must be an IP address or a host name');
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535)
    throw new PersistenceError('invalid-option', 'port must be a whole number from 0 to 65535');
  return { host, port };
}

/** Nothing where the length says that the body will be refused, or that there is none. */
async function takeBody(incoming: IncomingMessage): Promise<Buffer | undefined> {
  const length = Number(incoming.headers['content-length'] ?? 0);
  if (!(length > 0 && length <= bodyBytesMax)) return undefined;
  const body = Buffer.allocUnsafeSlow(length);
  let used = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      used += chunk.copy(body, used);
      chunk.fill(0);
    }
    // Shorter only where somebody else has read of it before.
    return body.subarray(0, used);
  } catch (error) {
    body.fill(0);
    throw error;
  }
}

/** The names that the certificate is for. */
function namesFor(host: string, names: readonly string[]): string[] {
  const anywhere = host === '0.0.0.0' || host === '::';
  const local = ['localhost', '127.0.0.1', '::1'];
  // A machine may have a name that no certificate can be made for, such as one with an underscore.
  const own = anywhere && hostName.test(hostname()) ? [hostname()] : [];
  return [...new Set([...(anywhere ? [] : [host]), ...names, ...own, ...local])];
}

/**
 * Listens on one address with a new certificate.
 * @throws PersistenceError `permission-denied`, `io-error` where the address cannot be had; `invalid-option`
 */
export async function listen(
  binding: NativeBinding,
  listener: RequestListener,
  { names, origin }: Pick<ReadWizardOptions, 'names' | 'origin'>,
  where: ListenOptions,
  limits = serverLimits,
): Promise<{ readonly listening: Listening; readonly close: () => Promise<void> }> {
  const { host, port } = readListenOptions(where);
  const { key, certificate } = certificateFor(binding, namesFor(host, names));
  let server: ReturnType<typeof createServer>;
  try {
    server = createServer(
      { key, cert: certificate, minVersion: 'TLSv1.2', insecureHTTPParser: false, ...limits },
      listener,
    );
  } finally {
    key.fill(0);
  }
  server.maxHeadersCount = headersMax;
  server.maxConnections = connectionsMax;
  // A fault of one connection, such as a client that does not take the certificate.
  server.on('tlsClientError', (_error, socket) => {
    socket.destroy();
  });
  limitAddresses(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EACCES' ? 'permission-denied' : 'io-error';
      reject(
        new PersistenceError(reason, `cannot listen on ${host} port ${port}: ${error.message}`, {
          cause: error,
        }),
      );
    });
    server.listen({ host, port }, () => {
      resolve();
    });
  });
  const { port: actual } = server.address() as AddressInfo;
  const own = host === '0.0.0.0' || host === '::' ? hostname() : isIP(host) === 6 ? `[${host}]` : host;
  const shownOrigin = origin ?? `https://${names[0] ?? own}:${actual}`;
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
    });
    server.closeIdleConnections();
    const timer = setTimeout(() => {
      server.closeAllConnections();
    }, goodbyeMs);
    await closed;
    clearTimeout(timer);
  };
  return {
    listening: Object.freeze({
      url: `${shownOrigin}/setup-wizard/`,
      port: actual,
      certificate: certificate.toString(),
      fingerprint: new X509Certificate(certificate).fingerprint256,
    }),
    close,
  };
}

function certificateFor(
  binding: NativeBinding,
  names: readonly string[],
): { readonly key: Buffer; readonly certificate: Buffer } {
  try {
    return binding.temporaryCertificate(names, lifetimeSeconds);
  } catch (error) {
    throw toPersistenceError(error, 'internal');
  }
}

/** One address must not take all of the connections. */
function limitAddresses(server: ReturnType<typeof createServer>): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (open.get(address) ?? 0) + 1;
    if (count > connectionsOfAnAddressMax) {
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
}
