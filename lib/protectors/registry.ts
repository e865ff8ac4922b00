// The kinds of key protector, by their names: the only place that knows all of them.
import { invalidOption, readClosed } from '../options/readers.js';
import { external } from './external.js';
import { pkcs11 } from './pkcs11.js';
import type { GivenProtector, KeyProtectorKind } from './protector.js';
import { software } from './software.js';
import { tpm } from './tpm.js';

/** In the order in which the commands show them. A new kind is a line here. */
const kinds = {
  software,
  tpm,
  pkcs11,
  external,
} as const satisfies Readonly<Record<string, KeyProtectorKind>>;

type Kind = (typeof kinds)[keyof typeof kinds];
type OptionsOf<Each> = Each extends { read: (...given: never[]) => GivenProtector<infer Options> }
  ? Options
  : never;
type LevelOf<Each> = Each extends { securityLevels: infer Levels } ? keyof Levels : never;

/** What wraps the data encryption key in everyday use. */
export type KeyProtectorType = keyof typeof kinds;

/** The key protector: what wraps the data encryption key in everyday use. */
export type KeyProtectorOptions = OptionsOf<Kind>;

/**
 * What binds a store, and to what. See SECURITY.md.
 *
 * - `software`: detects tampering, rollback and partial restore by whoever does not also restore the SecretStore, or read
 *   the root key from it.
 * - `tpm`: bound to a chip by its maker's word; files alone, however complete, cannot be put back.
 * - `tpm-virtual`: bound to a virtual TPM, or one whose maker is not known as a maker of chips. Whoever restores the
 *   virtual machine together with the state of its TPM is not noticed.
 * - `pkcs11`: the data encryption key is wrapped by a key that never leaves its token. Whoever has the PIN can put the
 *   witness in the token back together with everything else.
 * - `external`: a key service of the application wraps the root key, which passes through JavaScript. The witnesses are as
 *   those of `software`.
 *
 * The TPM's word for what it is has no proof: the owner of the machine can run a program that calls itself a chip.
 */
export type SecurityLevel = LevelOf<Kind>;

export const protectorTypes = Object.keys(kinds) as readonly KeyProtectorType[];
export const allProtectors: readonly KeyProtectorKind[] = Object.values(kinds);

export function protectorOf(type: KeyProtectorType): KeyProtectorKind {
  return kinds[type];
}

/** Those that a command can open. */
export const commandTypes = protectorTypes.filter((type) => protectorOf(type).command !== undefined);

/** `'a', 'b' or 'c'`: the kinds that answer so. */
export function typesWhere(answers: (kind: KeyProtectorKind) => boolean): string {
  const quoted = allProtectors.filter(answers).map(({ type }) => `'${type}'`);
  const last = quoted.pop() ?? '';
  return quoted.length === 0 ? last : `${quoted.join(', ')} or ${last}`;
}

/** Every name that `protector` has in one of the kinds. */
const optionNames = [...new Set(allProtectors.flatMap((kind) => kind.optionNames))];

/**
 * `protector` of the options. Its secrets are read when they are needed.
 * @throws PersistenceError `invalid-option`, which names the option; `invalid-argument` for what is no secret
 */
export function readProtector(value: unknown): GivenProtector | undefined {
  if (value === undefined) return undefined;
  const given = readClosed(value, 'protector', optionNames);
  const { type } = given as { readonly type: unknown };
  if (typeof type !== 'string' || !Object.hasOwn(kinds, type))
    throw invalidOption(`protector.type must be ${typesWhere(() => true)}`);
  const kind = protectorOf(type as KeyProtectorType);
  for (const name of optionNames) {
    if (given[name] !== undefined && !kind.optionNames.includes(name))
      throw invalidOption(
        `protector.${name} belongs to the type ${typesWhere((each) => each.optionNames.includes(name))}`,
      );
  }
  return kind.read(given);
}

/** The key slots of backup passwords; the others are of the key protector. */
export function passwordSlots<Slot extends { readonly type: string }>(
  slots: readonly Slot[],
): readonly Slot[] {
  return slots.filter(({ type }) => type === 'password');
}
