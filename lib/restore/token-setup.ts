// Tokens without a store: which a module has, and a new one. The library's half of the documents' wizard_setup_hsm.sh.
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativeTokenInfo } from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { readOptions } from '../options/readers.js';
import { readModulePath } from '../protectors/pkcs11.js';
import { readPassword, type PasswordSource, type Secret } from '../options/secrets.js';

/** A token, or a slot that could hold one. */
export type TokenInfo = NativeTokenInfo;

export interface ListTokensOptions {
  /** Absolute path. */
  readonly module: string;
  readonly initArguments?: string;
  /** Default 10,000 ms. */
  readonly timeLimitMs?: number;
}

export interface SetUpTokenOptions extends ListTokensOptions {
  readonly slotId: number;
  /** Of the new token: 1 to 32 bytes, and no other token of the module has it. */
  readonly label: string;
  readonly soPin: PasswordSource;
  readonly pin: PasswordSource;
  /** The label of the initialised token in the slot, which is erased with everything on it. */
  readonly erase?: string;
}

const listNames = ['module', 'initArguments', 'timeLimitMs'] as const;
const setUpNames = [...listNames, 'slotId', 'label', 'soPin', 'pin', 'erase'] as const;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

function moduleOf(value: unknown): string {
  const path = readModulePath(value, 'module');
  if (path === undefined) throw invalid('module is needed');
  return path;
}

/** As {@link Api.listTokens}. */
export async function findTokens(
  binding: NativeBinding,
  options: ListTokensOptions,
): Promise<readonly TokenInfo[]> {
  const { module, initArguments, timeLimitMs } = readOptions(options, listNames);
  const locator = {
    module: moduleOf(module),
    initArguments: initArguments as string | undefined,
    timeLimitMs: timeLimitMs as number | undefined,
  };
  return Object.freeze(
    (await fromNative(() => binding.listTokens(locator))).map((token) => Object.freeze(token)),
  );
}

/** As {@link Api.setUpToken}. */
export async function makeToken(binding: NativeBinding, options: SetUpTokenOptions): Promise<TokenInfo> {
  const given = readOptions(options, setUpNames);
  const { slotId, label, erase } = checkPlace(given);
  const place = {
    module: moduleOf(given.module),
    initArguments: given.initArguments as string | undefined,
    timeLimitMs: given.timeLimitMs as number | undefined,
  };
  const soPin = readPassword(given.soPin, 'soPin');
  let pin: Secret | undefined;
  try {
    pin = readPassword(given.pin, 'pin');
    if (soPin === undefined || pin === undefined)
      throw new PersistenceError('pin-missing', 'soPin and pin are needed');
    checkSlot(await fromNative(() => binding.listTokens(place)), slotId, label, erase);
    const pins = { soPin: await soPin.take(), pin: await pin.take() };
    // The core looks again, immediately before it erases.
    return Object.freeze(
      await fromNative(() =>
        binding.initialiseToken({ ...place, slotId, label, confirmation: erase, ...pins }),
      ),
    );
  } catch (error) {
    const refusal = toPersistenceError(error);
    // A wrong PIN is the security officer's, since the user's is only being set.
    const source = refusal.reason === 'pin-wrong' ? soPin : pin;
    throw source?.explain(refusal) ?? refusal;
  } finally {
    soPin?.forget();
    pin?.forget();
  }
}

/** @throws PersistenceError `invalid-option`, which names the option after `prefix` */
export function checkPlace(
  { slotId, label, erase }: Record<'slotId' | 'label' | 'erase', unknown>,
  prefix = '',
): { slotId: number; label: string; erase: string | undefined } {
  if (typeof slotId !== 'number' || !Number.isSafeInteger(slotId) || slotId < 0) {
    throw invalid(`${prefix}slotId must be a whole number`);
  }
  if (typeof label !== 'string' || label === '')
    throw invalid(`${prefix}label must be a string that is not empty`);
  if (erase !== undefined && typeof erase !== 'string')
    throw invalid(`${prefix}erase must be the label of a token`);
  return { slotId, label, erase };
}

function checkSlot(
  tokens: readonly TokenInfo[],
  slotId: number,
  label: string,
  erase: string | undefined,
): void {
  const slot = tokens.find((token) => token.slotId === slotId);
  if (slot === undefined)
    throw new PersistenceError('token-missing', `the module has no slot ${slotId} for a token`, {
      remedy: 'Name one of the slots that `strongroom hsm list MODULE` shows.',
    });
  if (tokens.some((token) => token !== slot && token.initialised && token.label === label)) {
    throw new PersistenceError('token-exists', `the module has a token '${label}' already`);
  }
  if (slot.initialised && erase !== slot.label) {
    throw new PersistenceError(
      'token-not-confirmed',
      `slot ${slotId} holds the token '${slot.label}' (serial number ${slot.serial}), which would be erased`,
    );
  }
  if (!slot.initialised && erase !== undefined) {
    throw new PersistenceError(
      'token-not-confirmed',
      `slot ${slotId} holds no token '${erase}' that could be erased`,
    );
  }
}
