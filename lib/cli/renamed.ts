// Old names of flags, commands and fields, refused with the new ones.
import type { Command } from 'commander';

/** By its old name, the name of each renamed flag. */
export const renamedFlags: ReadonlyMap<string, string> = new Map([
  ['--storage', '--protector'],
  ['--token-file', '--permit-file'],
]);

/** By its old name, the name of each renamed command. */
export const renamedCommands: ReadonlyMap<string, string> = new Map([['token', 'permit']]);

/** By its old name, the name of each renamed field of a status that a command reads. */
export const renamedFields: ReadonlyMap<string, string> = new Map([['tokenPoint', 'permitCheckpoint']]);

/**
 * The refusal of an old name, from commander's message about an unknown one; undefined for other messages, and where
 * `command`, which does not know it, does not have the new name either.
 */
export function refusalOfOldName(message: string, command: Command): string | undefined {
  const [, kind, old = ''] = /unknown (option|command) '([^'=]+)/.exec(message) ?? [];
  const name = (kind === 'option' ? renamedFlags : renamedCommands).get(old);
  const names =
    kind === 'option' ? command.options.map(({ long }) => long) : command.commands.map((each) => each.name());
  return name !== undefined && names.includes(name) ? `${old} is called ${name} now` : undefined;
}
