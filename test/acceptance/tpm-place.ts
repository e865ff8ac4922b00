// A place whose store has its root in a swtpm of its own.
import type { OpenOptions } from '../../lib/store/open-options.js';
import type { TpmProtectorOptions } from '../../lib/protectors/tpm.js';
import { Swtpm } from '../support/swtpm.js';
import { Place } from './support.js';

export class TpmPlace extends Place {
  /** What every option object's `protector` is made of. */
  tpmOptions: Omit<TpmProtectorOptions, 'type'> = {};

  private constructor(readonly tpm: Swtpm) {
    super();
  }

  static async made(): Promise<TpmPlace> {
    return new TpmPlace(await Swtpm.started());
  }

  get tcti(): string {
    return this.tpm.tcti;
  }

  override options(changes: Partial<OpenOptions> = {}): OpenOptions {
    return {
      directory: this.directory,
      instance: 'test',
      protector: { type: 'tpm', tcti: this.tcti, ...this.tpmOptions },
      ...changes,
    };
  }

  override async closeAll(): Promise<void> {
    await super.closeAll();
    await this.tpm.remove();
  }
}
