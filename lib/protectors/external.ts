// Key protector `external`: a key service of the application wraps the root key, by two functions.
//
// Invariants:
// - The root key passes through JavaScript here, and nothing else of the store does. What `wrap` was given and what `unwrap`
//   answered is wiped after each call.
// - Only a KeyServiceError of kind `refused` says that the service refused. Whatever else happens is an outage.
// - Of an error that is not a KeyServiceError no more is repeated than its code: its text could hold the key. The core looks
//   for the key in the text of a KeyServiceError, so that no spelling of a key is made here.
import { types } from 'node:util';

import { isError } from '../base/realms.js';
import { KeyServiceError, type Reason } from '../errors.js';
import type { NativeByteCall, NativeExternalProtector } from '../native-border.js';
import { invalidOption } from '../options/readers.js';
import type { Flags, GivenProtector, KeyProtectorKind } from './protector.js';

const timeoutMsMax = 600_000;
const wrappedRootBytesMax = 4096;

/**
 * Wraps or unwraps at most 4 KiB. `context` is not secret. It names the store and the key slot: a key service that takes
 * associated data (an encryption context) binds the wrapped key to it.
 */
export type KeyServiceFunction = (bytes: Uint8Array, context: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/**
 * A key service of the application wraps the root key, which passes through JavaScript; see docs/external.md.
 *
 * Both functions are needed at every start. They throw a {@link KeyServiceError} to say how the service failed.
 */
export interface ExternalProtectorOptions {
  readonly type: 'external';
  /** Answers the wrapped key, 1 to 4,096 bytes. */
  readonly wrap: KeyServiceFunction;
  /** Answers what `wrap` was given, in bytes that the store wipes: if you keep them, answer a copy. */
  readonly unwrap: KeyServiceFunction;
  /** For each call of a function; 1 to 600,000, default 10,000 ms. */
  readonly timeoutMs?: number;
}

interface Failure {
  readonly reason: Reason;
  readonly detail: string;
}

/** What a KeyServiceError of any copy of this package says. */
function kindOf(error: Error): string | undefined {
  const { kind } = error as { readonly kind?: unknown };
  return error.name === 'KeyServiceError' && typeof kind === 'string' ? kind : undefined;
}

/** Such as ECONNREFUSED. */
const codePattern = /^[A-Z][A-Z0-9_]{1,39}$/;

function failureOf(error: unknown): Failure {
  let reason: Reason = 'key-service-unreachable';
  try {
    if (!isError(error)) return { reason, detail: 'it threw something that is not an Error' };
    const kind = kindOf(error);
    if (kind === 'refused') reason = 'key-service-refused';
    if (kind !== undefined) return { reason, detail: error.message };
    const { code } = error as { readonly code?: unknown };
    const told = typeof code === 'string' && codePattern.test(code) ? ` with the code ${code}` : '';
    return { reason, detail: `it threw an error that is not a KeyServiceError${told}` };
  } catch {
    return { reason, detail: 'what it threw cannot be read' }; // a getter threw
  }
}

/** Of what the function transferred, nothing is left here. */
function wipe(bytes: Uint8Array): void {
  if (bytes.byteLength > 0) new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).fill(0);
}

function checked(answer: unknown): Uint8Array {
  if (!types.isUint8Array(answer)) throw new KeyServiceError('unreachable', 'its answer is not a Uint8Array');
  if (answer.length > wrappedRootBytesMax)
    throw new KeyServiceError('unreachable', `its answer has more than ${wrappedRootBytesMax} bytes`);
  return answer;
}

async function answer(
  name: 'wrap' | 'unwrap',
  call: KeyServiceFunction,
  ...[input, context, settle]: Parameters<NativeByteCall>
): Promise<void> {
  let given: unknown;
  try {
    given = await call(input, context);
    settle(checked(given)); // copies it
  } catch (error) {
    const { reason, detail } = failureOf(error);
    settle(undefined, reason, detail);
  } finally {
    wipe(input);
    if (name === 'unwrap' && types.isUint8Array(given)) wipe(given);
  }
}

function readFunction(value: unknown, name: 'wrap' | 'unwrap'): NativeByteCall {
  if (typeof value !== 'function') throw invalidOption(`protector.${name} must be a function`);
  return (...given) => void answer(name, value as KeyServiceFunction, ...given);
}

function readTimeout(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const isWithin =
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= timeoutMsMax;
  if (isWithin) return value;
  throw invalidOption(`protector.timeoutMs must be a whole number from 1 to ${timeoutMsMax}`);
}

function read(given: Flags): GivenProtector<ExternalProtectorOptions> {
  const native: NativeExternalProtector = {
    type: 'external',
    wrap: readFunction(given['wrap'], 'wrap'),
    unwrap: readFunction(given['unwrap'], 'unwrap'),
    timeLimitMs: readTimeout(given['timeoutMs']),
  };
  return {
    kind: external,
    options: given as unknown as ExternalProtectorOptions,
    native,
    token: undefined,
    locate: () => Promise.resolve(native),
    forget: () => undefined,
    explain: (refusal) => refusal,
  };
}

export const external = {
  type: 'external',
  optionNames: ['type', 'wrap', 'unwrap', 'timeoutMs'],
  holder: 'key service',
  hasSecretStore: true,
  isInToken: false,
  permitSuffices: false,
  keepsKeyFrom: new Set<Reason>(),
  insteadOfRecover: undefined,
  insteadOfReseal:
    'the root key of this store is wrapped by a key service of the application, not sealed in a TPM',
  securityLevels: {
    external: 'external (a key service of the application; the root key passes through JavaScript)',
  },
  read,
  status: () => ({ securityLevel: 'external' as const }),
  // A command has no functions of an application to call.
  command: undefined,
} as const satisfies KeyProtectorKind;
