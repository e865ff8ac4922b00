// Values of other realms: of a node:vm context, or of a test runner that gives each file one
import { types } from 'node:util';

/** Also true for a DOMException, which a signal throws, and which is not a native error everywhere. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}
