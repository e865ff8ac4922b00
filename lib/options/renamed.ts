// Old names of options, refused with the new ones.

/** By its old name, the name of each renamed option. */
export const renamedOptions: ReadonlyMap<string, string> = new Map([
  ['storage', 'protector'],
  ['proof', 'credential'],
  ['token', 'permit'],
]);

/**
 * The refusal of an option by its old name, or undefined.
 * @param what - what it is a part of: `credential`, or `the options` of a call
 * @param names - the options that `what` has
 */
export function refusalOfOldName(old: string, what: string, names: readonly string[]): string | undefined {
  const name = renamedOptions.get(old);
  if (name === undefined || !names.includes(name)) return undefined;
  return `${what.startsWith('the ') ? '' : `${what}.`}${old}: this option is called '${name}' now`;
}
