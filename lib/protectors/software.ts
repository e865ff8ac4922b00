// Key protector `software`: the root key is an item of the SecretStore.
import { refusePinSource } from './pin.js';
import type { Flags, GivenProtector, KeyProtectorKind } from './protector.js';

/** The data encryption key is wrapped by a key in the SecretStore. */
export interface SoftwareProtectorOptions {
  readonly type: 'software';
}

const options: SoftwareProtectorOptions = Object.freeze({ type: 'software' });

export const software = {
  type: 'software',
  optionNames: ['type'],
  holder: 'SecretStore',
  hasSecretStore: true,
  isInToken: false,
  permitSuffices: true,
  keepsKeyFrom: new Set(),
  insteadOfRecover: undefined,
  insteadOfReseal: undefined,
  securityLevels: { software: 'software' },
  read: (): GivenProtector<SoftwareProtectorOptions> => ({
    kind: software,
    options,
    native: options,
    token: undefined,
    locate: () => Promise.resolve(options),
    forget: () => undefined,
    explain: (refusal) => refusal,
  }),
  status: () => ({ securityLevel: 'software' as const }),
  command: {
    options: {},
    choosesPin: false,
    protectorOf: () => options,
    pinOf: (flags: Flags) => {
      refusePinSource(flags, (source) => `${source}: protector 'software' has no PIN`);
      return undefined;
    },
    statusRows: () => [],
    headerRows: () => [],
  },
} as const satisfies KeyProtectorKind;
