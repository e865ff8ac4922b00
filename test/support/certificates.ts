// Certificates for tests, made by the command openssl.
import { execFileSync } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { temporaryDirectory } from './stores.js';

/** PEM, each. */
export interface Certificates {
  readonly key: string;
  readonly certificate: string;
  /** The one intermediate. */
  readonly chain: string;
}

/** A key and its certificate for localhost, issued by an intermediate that a root of its own issued. */
export function makeCertificates(algorithm: 'rsa:2048' | 'ec' | 'ed25519' = 'ec'): Certificates {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'pipe' });
  };
  const request = (name: string, newKey: string, ...more: string[]): void => {
    const curve = newKey === 'ec' ? ['-pkeyopt', 'ec_paramgen_curve:P-256'] : [];
    const output = more.length > 0 ? file(`${name}.crt`) : file(`${name}.csr`);
    openssl(
      'req',
      '-new',
      '-newkey',
      newKey,
      ...curve,
      '-noenc',
      '-subj',
      `/CN=${name}`,
      ...more,
      '-keyout',
      file(`${name}.key`),
      '-out',
      output,
    );
  };
  const issue = (name: string, issuer: string): void => {
    openssl(
      'x509',
      '-req',
      '-in',
      file(`${name}.csr`),
      '-CA',
      file(`${issuer}.crt`),
      '-CAkey',
      file(`${issuer}.key`),
      '-CAcreateserial',
      '-days',
      '30',
      '-out',
      file(`${name}.crt`),
    );
  };
  request('root', 'ed25519', '-x509', '-days', '30');
  request('intermediate', 'ed25519');
  issue('intermediate', 'root');
  request('localhost', algorithm);
  issue('localhost', 'intermediate');
  const read = (name: string): string => readFileSync(file(name), 'utf8');
  return { key: read('localhost.key'), certificate: read('localhost.crt'), chain: read('intermediate.crt') };
}

/** A certificate for a public key whose private half is out of reach, issued by a CA that is made for it. */
export function certifyFor(key: KeyObject): string {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'pipe' });
  };
  writeFileSync(file('key.pem'), key.export({ format: 'pem', type: 'spki' }));
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ed25519',
    '-noenc',
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.crt'),
    '-subj',
    '/CN=ca',
  );
  openssl(
    'req',
    '-new',
    '-newkey',
    'ed25519',
    '-noenc',
    '-keyout',
    file('r.key'),
    '-out',
    file('r.csr'),
    '-subj',
    '/CN=key',
  );
  openssl(
    'x509',
    '-req',
    '-in',
    file('r.csr'),
    '-force_pubkey',
    file('key.pem'),
    '-CA',
    file('ca.crt'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-out',
    file('key.crt'),
    '-days',
    '30',
  );
  return readFileSync(file('key.crt'), 'utf8');
}
