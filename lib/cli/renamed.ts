// Old names of flags, commands and fields, refused with the new ones.

/** By its old name, the name of each renamed flag. */
export const renamedFlags: ReadonlyMap<string, string> = new Map([
  ['--storage', '--protector'],
  ['--token-file', '--permit-file'],
]);

/** By its old name, the name of each renamed command. */
export const renamedCommands: ReadonlyMap<string, string> = new Map([['token', 'permit']]);

/** By its old name, the name of each renamed field of a status that a command reads. */
export const renamedFields: ReadonlyMap<string, string> = new Map([['tokenPoint', 'permitCheckpoint']]);

/** The refusal of an old name, from commander's message about an unknown one; undefined for other messages. */
export function refusalOfOldName(message: string): string | undefined {
  const [, kind, old = ''] = /unknown (option|command) '([^'=]+)/.exec(message) ?? [];
  const name = (kind === 'option' ? renamedFlags : renamedCommands).get(old);
  return name === undefined ? undefined : `${old} is called ${name} now`;
}
