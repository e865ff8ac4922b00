// Where secrets come from: a file, a descriptor, the environment, or a question on the terminal; never the arguments, which
// every user of the machine can read. Each is a buffer that its user wipes.
import { PersistenceError } from '../errors.js';
import { credentialPath, secretDescriptor, secretFile, secretVariable } from '../options/secrets.js';
import { wrongOption } from './failure.js';
import { askHidden, canAsk } from './hidden-prompt.js';

/** The environment variables that hold the backup password, and the PIN of a TPM or token. */
export const passwordVariable = 'STRONGROOM_PASSWORD';
export const pinVariable = 'STRONGROOM_PIN';
type Variable = typeof passwordVariable | typeof pinVariable;

/** Where one password comes from, in order of precedence; `file` and `fd` exclude each other. */
export interface PasswordSource {
  /** What the errors and the question call it, such as `backup password`. */
  readonly name: string;
  readonly file?: string | undefined;
  readonly fd?: string | undefined;
  /** The options that set `file` and `fd`, for the errors. */
  readonly fileOption: string;
  readonly fdOption: string;
  /** The environment variable that counts. */
  readonly variable?: Variable;
  /** Whether it is asked for on a terminal; a new password twice. */
  readonly ask: 'once' | 'twice' | 'no';
}

/** The file that one of two options names. */
export function credentialFile(
  fileOption: string,
  file: string | undefined,
  credentialOption: string,
  credential: string | undefined,
): string | undefined {
  if (credential === undefined) return file;
  if (file !== undefined) throw wrongOption(`${fileOption} and ${credentialOption} exclude each other`);
  return credentialPath(credential, credentialOption);
}

/**
 * The password, or undefined when no source gives one.
 * @throws PersistenceError `invalid-option` for contradictory options and an empty or overlong password; the errors of
 *   reading a file
 */
export async function findPassword(source: PasswordSource): Promise<Buffer | undefined> {
  const { name, file, fd, fileOption, fdOption } = source;
  if (file !== undefined && fd !== undefined)
    throw wrongOption(`${fileOption} and ${fdOption} exclude each other`);
  if (file !== undefined) return secretFile(requirePath(file, fileOption), `${fileOption}: the ${name}`);
  if (fd !== undefined) return secretDescriptor(descriptorNumber(fd, fdOption), `${fdOption}: the ${name}`);
  if (source.variable !== undefined) {
    const value = takeVariable(source.variable);
    if (value !== undefined) return value;
  }
  return source.ask === 'no' || !canAsk() ? undefined : ask(source);
}

/** Like {@link findPassword}, but a password there must be. `password-missing` otherwise. */
export async function needPassword(source: PasswordSource): Promise<Buffer> {
  const password = await findPassword(source);
  if (password !== undefined) return password;
  const { name, fileOption, fdOption } = source;
  const variable = source.variable === undefined ? '' : `, ${source.variable}`;
  throw new PersistenceError(
    'password-missing',
    `the ${name} is needed: give ${fileOption}, ${fdOption}${variable} or a terminal to ask on`,
  );
}

/** Removes the variable from this process's environment, whether it is used or not. */
export function takeVariable(variable: Variable): Buffer | undefined {
  try {
    return process.env[variable] === '' || process.env[variable] === undefined
      ? undefined
      : secretVariable(variable, 'the environment');
  } finally {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- one of two constant names
    delete process.env[variable];
  }
}

export async function ask({
  name,
  hint,
  ask: times,
}: Pick<PasswordSource, 'name' | 'ask'> & { readonly hint?: string }): Promise<Buffer | undefined> {
  const first = await askHidden(capitalised(hint === undefined ? name : `${name} (${hint})`));
  if (first.length === 0) return undefined;
  if (times === 'once') return first;
  try {
    const second = await askHidden('The same again');
    const same = first.equals(second);
    second.fill(0);
    if (!same) throw wrongOption(`the two answers for the ${name} differ`);
  } catch (error) {
    first.fill(0);
    throw error;
  }
  return first;
}

/** 0 is standard input. */
function descriptorNumber(text: string, option: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw wrongOption(`${option} takes the number of an open descriptor, not ${JSON.stringify(text)}`);
}

function requirePath(path: string, option: string): string {
  if (path !== '' && !path.includes('\0')) return path;
  throw wrongOption(`${option}: the path of a file is empty or holds a NUL`);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
