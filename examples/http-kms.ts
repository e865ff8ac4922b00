// Key protector `external` with a key management service over HTTP, as AWS KMS, Google Cloud KMS, Azure Key Vault and the
// transit engine of Vault have one. Adapt the request to the service; what matters is told by the comments.
import { KeyServiceError, type ExternalProtectorOptions } from 'strongroom';

/** What the service itself answers when it refuses for good: `{ "error": "KeyNotFound" }`. */
const refusals: ReadonlySet<unknown> = new Set(['AccessDenied', 'InvalidCiphertext', 'KeyNotFound']);

/** Of a body that is not JSON: undefined. */
async function errorOf(response: Response): Promise<unknown> {
  const body: unknown = await response.json().catch(() => undefined);
  return typeof body === 'object' && body !== null && 'error' in body ? body.error : undefined;
}

/**
 * @param url - of a service with `POST <url>/wrap` and `POST <url>/unwrap`, which take and answer base64 in JSON
 * @param headers - what authenticates the caller
 * @param timeoutMs - of each call
 */
export function httpKms(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  timeoutMs = 10_000,
): ExternalProtectorOptions {
  // Without a slash at its end, the last part of the path would be replaced.
  const base = url.endsWith('/') ? url : `${url}/`;
  const call = async (path: string, bytes: Uint8Array, context: Uint8Array): Promise<Uint8Array> => {
    const request = {
      bytes: Buffer.from(bytes).toString('base64'),
      // Associated data: the service answers a key for no other store and slot than it was wrapped for.
      context: Buffer.from(context).toString('base64'),
    };
    // What fetch() throws is no KeyServiceError, and so an outage.
    const response = await fetch(new URL(path, base), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(request),
      redirect: 'error', // the key goes to this service only
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (response.ok) {
      const { bytes: answer } = (await response.json()) as { readonly bytes: string };
      return Buffer.from(answer, 'base64');
    }
    // A proxy on the way answers 401, 403 and 404 too, and may heal. So the status alone says nothing final.
    const kind = refusals.has(await errorOf(response)) ? 'refused' : 'unreachable';
    throw new KeyServiceError(kind, `the key service answered ${response.status}`);
  };
  return {
    type: 'external',
    wrap: (key, context) => call('wrap', key, context),
    unwrap: (wrapped, context) => call('unwrap', wrapped, context),
    timeoutMs,
  };
}
