// A worker that opens a store whose key service never answers. It posts a message when the service is asked.
import { parentPort, workerData } from 'node:worker_threads';

import { PersistenceService } from '../../lib/store/persistence-service.js';
import { binding, quickKdf } from './stores.js';

const { directory, secrets } = workerData as { readonly directory: string; readonly secrets: string };
const silent = (): Promise<Uint8Array> => {
  parentPort?.postMessage('asked');
  return new Promise(() => undefined);
};
new PersistenceService(binding, {
  directory,
  instance: 'test',
  secretStore: { type: 'file', directory: secrets },
  recovery: { password: Buffer.from('a backup password'), kdf: quickKdf },
  protector: { type: 'external', wrap: silent, unwrap: silent, timeoutMs: 600_000 },
})
  .initialize()
  .catch(() => undefined);
