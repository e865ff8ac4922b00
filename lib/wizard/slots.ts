// Slots and tokens as the pages show them, and the PINs that a slot takes.
import type { NamedToken } from '../protectors/protector.js';
import type { TokenInfo } from '../restore/token-setup.js';
import type { Detection } from '../restore/world.js';
import { FormError } from './problem.js';
import type { SlotView, TokenFacts } from './view.js';

export function slotOf({
  slotId,
  manufacturer,
  model,
  initialised,
  label,
  serial,
  pinBytes,
}: TokenInfo): SlotView {
  return {
    slotId,
    description: `${manufacturer} ${model}`.trim(),
    erases: initialised ? { label, serial } : undefined,
    soPin: initialised ? 'existing' : 'new',
    pinBytes,
  };
}

function checkLength(
  { slotId, pinBytes }: TokenInfo,
  pin: Uint8Array,
  name: string,
  about: 'so-pin' | 'user-pin',
): void {
  if (pinBytes === undefined) return;
  const { min, max } = pinBytes;
  if (pin.length >= min && pin.length <= max) return;
  const length = min === max ? String(min) : `${min} to ${max}`;
  throw new FormError(
    'pin-length',
    `${name} has ${pin.length} bytes: slot ${slotId} takes a PIN of ${length} bytes`,
    about,
  );
}

/**
 * No token checks a PIN that is chosen now: a mistyped one would lock its owner out.
 * @throws FormError `pin-length`; `invalid-option` where the two differ
 */
export function checkSoPin(
  slot: TokenInfo | undefined,
  { soPin, soPinAgain }: { readonly soPin: Buffer | undefined; readonly soPinAgain: Buffer | undefined },
): void {
  if (slot === undefined || slot.initialised || soPin === undefined) return;
  checkLength(slot, soPin, 'the PIN of the security officer', 'so-pin');
  if (soPinAgain !== undefined && !soPin.equals(soPinAgain))
    throw new FormError('invalid-option', 'the two PINs of the security officer differ', 'so-pin-again');
}

/** @throws FormError `pin-length` */
export function checkUserPin(slot: TokenInfo | undefined, pin: Uint8Array): void {
  if (slot !== undefined) checkLength(slot, pin, 'the user PIN of the configuration', 'user-pin');
}

/** What a token that answers reports where it does not hold the key. */
const keyRefusals: readonly string[] = ['kek-missing', 'kek-replaced', 'wrapped-dek-corrupt'];

/** The token that answers and does not hold the key, where it is not the one that the store names. */
export function newTokenOf(
  { found, token, tokens = [] }: Detection,
  named: NamedToken | undefined,
): TokenFacts | undefined {
  const { label, serial, slotId } = named ?? {};
  if (!keyRefusals.includes(found.token)) return undefined;
  if (label === undefined && serial === undefined && slotId === undefined) return undefined;
  const [fitting, ...others] = tokens.filter(
    (each) =>
      each.initialised &&
      (label === undefined || each.label === label) &&
      (serial === undefined || each.serial === serial) &&
      (slotId === undefined || each.slotId === slotId),
  );
  if (fitting === undefined || others.length > 0 || fitting.serial === token?.serial) return undefined;
  return { label: fitting.label, serial: fitting.serial };
}
