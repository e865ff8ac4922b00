// Key protector 'tpm' in the library: its options, secrets and status; and the quick start of docs/tpm.md as it stands.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import type { NativeStatus, NativeStore } from '../lib/native-binding.js';
import { PersistenceService } from '../lib/store/persistence-service.js';
import { toStatus, type StatusExtras } from '../lib/store/status.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { binding, quickKdf, removeDirectory, temporaryDirectory, World } from './support/stores.js';
import { Swtpm } from './support/swtpm.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const password = Buffer.from('correct horse');
const recovery = { password, kdf: quickKdf };

describe('protector tpm', function () {
  this.timeout(60_000);

  describe('options', () => {
    const world = new World();
    after(() => world.closeAll());
    const make = (protector: unknown, more: object = {}): PersistenceService =>
      new PersistenceService(binding, { directory: world.directory, protector, ...more });

    for (const [what, protector, name] of [
      ['a type of its own', { type: 'TPM' }, /protector\.type/],
      ['a name that there is not', { type: 'tpm', device: '/dev/tpm0' }, /'device'/],
      ['a TCTI that is no string', { type: 'tpm', tcti: 5 }, /protector\.tcti/],
      ['an empty TCTI', { type: 'tpm', tcti: '' }, /protector\.tcti/],
      ['a mask for pcrs', { type: 'tpm', pcrs: 129 }, /protector\.pcrs/],
      ['a PCR beyond 23', { type: 'tpm', pcrs: [0, 24] }, /protector\.pcrs/],
      ['a string for a PCR', { type: 'tpm', pcrs: ['0'] }, /protector\.pcrs/],
      ['a string for the PIN', { type: 'tpm', pin: '2580' }, /protector\.pin/],
      ['too many anchors', { type: 'tpm', anchorsPerDay: 86_401 }, /protector\.anchorsPerDay/],
      ['a part of an anchor', { type: 'tpm', anchorsPerDay: 0.5 }, /protector\.anchorsPerDay/],
      ['a PIN for software', { type: 'software', pin: Buffer.from('1') }, /protector\.pin/],
    ] as const) {
      it(`refuses ${what}`, () => {
        // A secret that is no bytes is the wrong argument, wherever it stands.
        const reason = what === 'a string for the PIN' ? 'invalid-argument' : 'invalid-option';
        assert.match(throwsReason(() => make(protector), reason).message, name);
      });
    }
    it('refuses a SecretStore beside a TPM, and another word than none for recovery', () => {
      const secretStore = { type: 'file', directory: world.secrets };
      throwsReason(() => make({ type: 'tpm' }, { secretStore }), 'invalid-option');
      throwsReason(() => make({ type: 'tpm' }, { recovery: 'never' }), 'invalid-option');
    });
    it('refuses an empty PIN, which would be none, and one beyond 4,096 bytes', async () => {
      for (const size of [0, 4097]) {
        const service = make({ type: 'tpm', pin: Buffer.alloc(size, 1) }, { recovery });
        assert.match((await rejectsReason(service.initialize(), 'invalid-option')).message, /PIN/);
      }
    });
    it('a TCTI that leads nowhere is unavailable, and leaves nothing behind', async () => {
      const service = make({ type: 'tpm', tcti: `swtpm:path=${world.root}/nobody` }, { recovery });
      const error = await rejectsReason(service.initialize(), 'tpm-unavailable');
      assert.equal(error.retryable, true);
    });
  });

  describe('secrets', () => {
    let tpm: Swtpm;
    const world = new World();
    before(async () => {
      tpm = await Swtpm.started();
    });
    after(async () => {
      await world.closeAll();
      await tpm.remove();
    });

    it("our copy of the PIN is wiped, the caller's own array is left alone", async () => {
      const pin = Buffer.from('2580');
      const options = (): object => ({
        directory: world.directory,
        instance: 'test',
        protector: { type: 'tpm', tcti: tpm.tcti, pin },
        recovery,
      });
      const seen: Uint8Array[] = [];
      class Store extends binding.Store {}
      Object.defineProperty(Store.prototype, 'start', {
        get(this: NativeStore): NativeStore['start'] {
          const own = Reflect.get(binding.Store.prototype, 'start', this) as NativeStore['start'];
          return {
            open: (...given) => own.open(...given),
            proceed: (secrets, progress) => {
              const protector = secrets?.protector;
              if (protector?.type === 'tpm' && protector.pin !== undefined) seen.push(protector.pin);
              return own.proceed(secrets, progress);
            },
          };
        },
      });
      const watching = { ...binding, Store };
      for (let start = 0; start < 2; ++start) {
        const service = new PersistenceService(watching, options(), { clock: world.clock });
        await service.initialize();
        await service.close();
      }
      assert.equal(seen.length, 2);
      for (const copy of seen) assert.ok(copy !== pin && copy.every((byte) => byte === 0));
      assert.equal(pin.toString(), '2580');
    });
  });

  it('the security level is what the TPM says of itself, and no more than that is believed of a stranger', () => {
    const level = (description: string): string => statusOf({ description }).securityLevel;
    for (const chip of [
      'INTC Intel 600.18',
      'IFX SLB9670 7.85',
      'STM  1.258',
      'AMD AMD 3.37',
      'NTC rls 7.2',
    ]) {
      assert.equal(level(chip), 'tpm', chip);
    }
    for (const other of [
      'IBM SW TPM 8217.4131',
      'MSFT xCG fTPM 8215.1561',
      'GOOG vTPM 1.0',
      'VMW 1.0',
      'AMZN',
      '',
      'IFXX',
    ]) {
      assert.equal(level(other), 'tpm-virtual', other);
    }
  });

  it('wear: pace and projected life', () => {
    const day = 86_400_000;
    const wear = (increments: number, days: number) =>
      statusOf({ increments, firstMs: 1e12 - days * day }).tpm!.wear;
    assert.equal(wear(270, 10).perDay, 27);
    assert.ok(Math.abs(wear(270, 10).yearsTo100k - 10.1) < 0.1);
    assert.ok(Math.abs(wear(270, 10).yearsTo500k - 50.7) < 0.1);
    // The first minutes are no pace.
    assert.equal(wear(3, 0.001).perDay, 3);
    assert.equal(wear(600_000, 100).yearsTo100k, 0);
  });

  it('the quick start of docs/tpm.md runs and says what it says', async () => {
    const page = readFileSync(join(root, 'docs/tpm.md'), 'utf8');
    const [, code] = /<!-- swtpm-quick-start -->\s*```sh\n(.*?)^```$/ms.exec(page) ?? [];
    assert.ok(code !== undefined);
    const directory = temporaryDirectory();
    const prelude = `
      trap 'kill $(jobs -p) 2>/dev/null' EXIT
      strongroom() { '${process.execPath}' '${join(root, 'dist/cli/main.js')}' "$@"; }
    `;
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', prelude + code], {
      cwd: directory,
      env: { ...process.env, TMPDIR: directory, STRONGROOM_PREBUILD: root, NODE_OPTIONS: '' },
      timeout: 30_000,
    });
    assert.match(stdout, /^verdict +ok$/m);
    assert.match(stdout, /^security level +tpm-virtual/m);
    assert.match(stdout, /^refused: exit code 3$/m);
    assert.match(stderr, /\[PERS_8003 vault-rolled-back\]/);
    removeDirectory(directory);
  });
});

/** The status of a store whose TPM is like this. */
function statusOf(tpm: Partial<NonNullable<NativeStatus['tpm']>>): ReturnType<typeof toStatus> {
  const native = {
    protector: 'tpm',
    keySlots: [],
    tpm: { description: '', increments: 1, firstMs: 1e12, pcrs: [], ...tpm },
    witnesses: [],
    newest: {},
    permitCheckpoint: {},
  } as unknown as NativeStatus;
  const extras: StatusExtras = {
    state: 'open',
    readOnly: false,
    manifests: undefined,
    validations: 0,
    library: '',
    sharesFileSystem: undefined,
    notices: [],
    nowMs: 1e12,
  };
  return toStatus(native, extras);
}
