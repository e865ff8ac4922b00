// Key protector `external` with a key management service over HTTP, as AWS KMS, Google Cloud KMS, Azure Key Vault and the
// transit engine of Vault have one. Adapt the request to the service; what matters is told by the comments.
import { KeyServiceError, type ExternalProtectorOptions } from 'strongroom';

interface Answer {
  readonly bytes: string;
}

/**
 * @param url - of a service with `POST /wrap` and `POST /unwrap`, which take and answer base64 in JSON
 * @param headers - what authenticates the caller
 */
export function httpKms(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): ExternalProtectorOptions {
  const call = async (path: string, bytes: Uint8Array, context: Uint8Array): Promise<Uint8Array> => {
    const request = {
      bytes: Buffer.from(bytes).toString('base64'),
      // Associated data: the service answers a key for no other store and slot than it was wrapped for.
      context: Buffer.from(context).toString('base64'),
    };
    // What fetch() throws is no KeyServiceError, and so an outage.
    const response = await fetch(new URL(path, url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(request),
    });
    // Final: the permission or the key is gone. Busy and broken services answer 429 and 5xx, and heal.
    if ([400, 401, 403, 404].includes(response.status))
      throw new KeyServiceError('refused', `the key service answered ${response.status}`);
    if (!response.ok) throw new KeyServiceError('unreachable', `the key service answered ${response.status}`);
    const { bytes: answer } = (await response.json()) as Answer;
    return Buffer.from(answer, 'base64');
  };
  return {
    type: 'external',
    wrap: (key, context) => call('wrap', key, context),
    unwrap: (wrapped, context) => call('unwrap', wrapped, context),
  };
}
