// The closed schema of a manifest. Invariant: what passes has exactly the members below, all its own, none inherited.
//
// Not checked here but with the keys: whether RsaKeySize is large enough and true, so that a weak key has its own reason.
import type { ValidateFunction } from 'ajv';

import { Rejection, printable } from './rejection.js';
import { manifestLimits } from './types.js';

/** A manifest as it stands in a file. */
export interface ManifestDocument {
  ProviderName: string;
  CreatedUtc: string;
  ProviderSecrets: {
    VendorCode: string;
    VendorSecretName: string;
    RsaKeySize: number;
    PublicKey: string;
    InProduction: boolean;
    Deprecated: boolean;
  }[];
  SignatureBase64: string;
}

// Names are compared by code points and never normalised; controls and line separators are refused.
const name = {
  type: 'string',
  minLength: 1,
  maxLength: manifestLimits.nameCharactersMax,
  pattern: '^[^\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}]+$',
};

// RFC 4648 section 4, with padding and nothing else; that the unused bits are zero is checked when it is decoded.
const base64 = {
  type: 'string',
  minLength: 4,
  maxLength: 16_384,
  pattern: '^[A-Za-z0-9+/]+={0,2}$',
};

const schema = {
  type: 'object',
  additionalProperties: false,
  required: ['ProviderName', 'CreatedUtc', 'ProviderSecrets', 'SignatureBase64'],
  properties: {
    ProviderName: name,
    // RFC 3339 with "Z" for UTC and at most milliseconds, so that two stamps compare exactly as numbers.
    CreatedUtc: {
      type: 'string',
      maxLength: 24,
      pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,3})?Z$',
    },
    ProviderSecrets: {
      type: 'array',
      maxItems: manifestLimits.secretsMax,
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['VendorCode', 'VendorSecretName', 'RsaKeySize', 'PublicKey', 'InProduction', 'Deprecated'],
        properties: {
          VendorCode: {
            type: 'string',
            maxLength: 36,
            pattern: '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$',
          },
          VendorSecretName: name,
          RsaKeySize: { type: 'integer', minimum: 1, maximum: manifestLimits.rsaBitsMax },
          PublicKey: base64,
          InProduction: { type: 'boolean' },
          Deprecated: { type: 'boolean' },
        },
      },
    },
    SignatureBase64: base64,
  },
};

let compiled: ValidateFunction<ManifestDocument> | undefined;

/**
 * Checks the form of a parsed file. The first fault is reported.
 * @throws Rejection `schema`
 */
export async function checkSchema(value: unknown): Promise<ManifestDocument> {
  if (compiled === undefined) {
    const { Ajv } = await import('ajv');
    compiled = new Ajv({
      strict: true,
      ownProperties: true,
      allErrors: false,
      logger: false,
    }).compile<ManifestDocument>(schema);
  }
  if (compiled(value)) return value;
  const [error] = compiled.errors ?? [];
  const extra: unknown = error?.params['additionalProperty'];
  const where = error?.instancePath === '' ? 'the document' : (error?.instancePath ?? 'the document');
  const what =
    typeof extra === 'string'
      ? `has an unknown member ${JSON.stringify(extra)}`
      : (error?.message ?? 'is not valid');
  throw new Rejection('schema', printable(`${where} ${what}`));
}

/**
 * The time of a CreatedUtc that passed the schema, in milliseconds since 1970.
 * @throws Rejection `schema` for a date that no calendar has, such as 30 February or a leap second
 */
export function createdMsOf(createdUtc: string): number {
  const ms = Date.parse(createdUtc);
  if (!Number.isFinite(ms) || new Date(ms).toISOString().slice(0, 19) !== createdUtc.slice(0, 19)) {
    throw new Rejection('schema', `/CreatedUtc is not a time: ${createdUtc}`);
  }
  return ms;
}
