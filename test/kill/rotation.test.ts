// kill -9 in rotations of the data encryption key: at every step of one, in each protector, and at any moment of rotations
// that go on beside writes. The store opens with the former key or the new one, and the rotation ends in the same state.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import type { OpenOptions } from '../../lib/store/open-options.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import type { DekStatus } from '../../lib/store/status.js';
import { HsmWorld, pin, softhsm } from '../support/softhsm.js';
import { binding, quickKdf, World } from '../support/stores.js';
import { Swtpm } from '../support/swtpm.js';
import { campaignSeed } from './campaign.js';
import { Random } from './operations.js';
import type { RotationPart } from './rotation-worker.js';

const worker = fileURLToPath(new URL('rotation-worker.ts', import.meta.url));
const password = 'correct horse';
const recovery = { password: Buffer.from(password), kdf: quickKdf };
const records = 300;
const killsAtAnyMoment = 40;

interface Line {
  readonly event: string;
  readonly dek?: DekStatus;
  readonly message?: string;
}

/** One machine with a root of some kind. */
interface Place {
  readonly protector: RotationPart['protector'];
  readonly directory: string;
  readonly secrets?: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** After a process was killed. */
  readonly settle?: () => void;
  readonly end: () => Promise<void>;
}

const places: Readonly<Record<'software' | 'tpm' | 'pkcs11', () => Promise<Place>>> = {
  software: () => {
    const { directory, secrets, closeAll } = bound(new World());
    return Promise.resolve({ protector: { type: 'software' }, directory, secrets, end: closeAll });
  },
  tpm: async () => {
    const { directory, closeAll } = bound(new World());
    const tpm = await Swtpm.started();
    return {
      protector: { type: 'tpm', tcti: tpm.tcti },
      directory,
      settle: () => {
        tpm.flush();
      },
      end: async () => {
        await tpm.remove();
        await closeAll();
      },
    };
  },
  pkcs11: async () => {
    const world = new HsmWorld();
    await world.make();
    const { directory, secrets, closeAll } = bound(world);
    const protector = { type: 'pkcs11', module: softhsm, token: 'acme', pin } as const;
    return { protector, directory, secrets, environment: world.environment(), end: closeAll };
  },
};

function bound(world: World | HsmWorld): {
  directory: string;
  secrets: string;
  closeAll: () => Promise<void>;
} {
  const { directory, secrets } = world;
  return { directory, secrets, closeAll: () => world.closeAll() };
}

// What a start finds when the process was killed before the step.
const steps: readonly (readonly [step: string, found: DekStatus['rotation'] | 'not begun'])[] = [
  ['dek', 'not begun'],
  ['dek-begun', 'pending'],
  ['vault', 'pending'],
  ['publish', 'pending'],
  ['witnesses', 'pending'],
  ['dek-end', 'pending'],
  ['dek-ended', 'complete'],
];

describe('kill -9 in a rotation of the data encryption key', function () {
  this.timeout(300_000);
  const totals = { kills: 0, acknowledged: 0, lost: 0, faults: 0 };
  const found = { 'not begun': 0, pending: 0, complete: 0 };
  let place: Place;
  let options: Omit<OpenOptions, 'protector'>;

  const open = async (changes: Partial<OpenOptions> = {}): Promise<OpenStore> => {
    const { protector } = place;
    const service = new PersistenceService(binding, {
      ...options,
      protector: protector.type === 'pkcs11' ? { ...protector, pin: Buffer.from(protector.pin) } : protector,
      ...changes,
    });
    return service.initialize();
  };

  const prepare = async (protector: keyof typeof places): Promise<void> => {
    place = await places[protector]();
    const { directory, secrets } = place;
    options = {
      directory,
      instance: 'test',
      ...(secrets !== undefined && { secretStore: { type: 'file', directory: secrets } }),
    };
    const service = await open({ recovery });
    await Promise.all(
      Array.from({ length: records }, (_, n) => service.vault.set(`k${n}`, Buffer.from(`value ${n}`))),
    );
    await service.close();
  };
  const start = (
    part: Partial<RotationPart>,
  ): { lines: AsyncIterable<string>; kill: () => void; end: Promise<NodeJS.Signals | null> } => {
    const whole: RotationPart = { options, protector: place.protector, password, ...part };
    const child = spawn(process.execPath, ['--import', 'tsx', worker, JSON.stringify(whole)], {
      env: place.environment ?? process.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const end = once(child, 'close').then(([, signal]) => signal as NodeJS.Signals | null);
    return { lines: createInterface({ input: child.stdout }), kill: () => child.kill('SIGKILL'), end };
  };
  const run = async (
    part: Partial<RotationPart>,
  ): Promise<{ signal: NodeJS.Signals | null; lines: Line[] }> => {
    const { lines, end } = start(part);
    const said: Line[] = [];
    for await (const line of lines) said.push(JSON.parse(line) as Line);
    return { signal: await end, lines: said };
  };
  const stateOf = (dek: DekStatus, keyIdBefore: number): keyof typeof found =>
    dek.keyId === keyIdBefore && dek.rotation === 'complete' ? 'not begun' : dek.rotation;
  const note = (what: keyof typeof found): void => {
    found[what] += 1;
  };
  const expectRecords = (service: OpenStore, prefix: string, numbers: Iterable<number>): void => {
    for (const n of numbers)
      if (service.vault.get(`${prefix}${n}`)?.toString() !== `value ${n}`) totals.lost += 1;
    assert.equal(totals.lost, 0);
  };

  afterEach(() => place.end());
  after(() => {
    const { kills, acknowledged, lost, faults } = totals;
    console.log(
      `    kill -9 in a rotation of the DEK: ${kills} kills, ${acknowledged} writes acknowledged, ${lost} records lost, ` +
        `${faults} faults; found not begun ${found['not begun']}, pending ${found.pending}, complete ${found.complete}`,
    );
    assert.equal(kills, 3 * steps.length + killsAtAnyMoment);
  });

  for (const protector of ['software', 'tpm', 'pkcs11'] as const) {
    it(`protector ${protector}, at each of ${steps.length} steps`, async () => {
      await prepare(protector);
      let keyId = 1;
      for (const [killAt, wanted] of steps) {
        const killed = await run({ killAt });
        assert.equal(killed.signal, 'SIGKILL', `${killAt}: ${JSON.stringify(killed.lines.at(-1))}`);
        totals.kills += 1;
        place.settle?.();
        const looked = await open({ readOnly: true });
        const { dek } = looked.status();
        expectRecords(looked, 'k', Array(records).keys());
        await looked.close();
        const state = stateOf(dek, keyId);
        assert.equal(state, wanted, killAt);
        note(state);
        keyId += 1;
        if (wanted !== 'complete') {
          const { lines } = await run({});
          if (lines.at(-1)?.event !== 'done') totals.faults += 1;
          assert.equal(lines.at(-1)?.event, 'done', `${killAt}: ${JSON.stringify(lines.at(-1))}`);
        }
        const service = await open();
        assert.equal(service.status().dek.keyId, keyId, killAt);
        assert.equal(service.status().dek.rotation, 'complete', killAt);
        expectRecords(service, 'k', Array(records).keys());
        await service.verify();
        await service.close();
      }
    });
  }

  it(`at any moment of rotations beside writes, ${killsAtAnyMoment} times`, async () => {
    await prepare('software');
    const random = new Random(campaignSeed(1));
    const acknowledged: number[] = [];
    let keyId = 1;
    for (let round = 0; round < killsAtAnyMoment; round += 1) {
      const { lines, kill, end } = start({ writeFrom: round * 100_000 });
      const rotations = random.within(1, 3);
      const afterMs = random.below(40);
      let rotating = 0;
      let killing: Promise<void> | undefined;
      for await (const line of lines) {
        if (line.startsWith('a ')) {
          acknowledged.push(Number(line.slice(2)));
          continue;
        }
        const { event, dek, message } = JSON.parse(line) as Line;
        if (event === 'fault') totals.faults += 1;
        assert.notEqual(event, 'fault', message);
        if (event === 'open') {
          // The former key, or the new one of a rotation of which the last process had not told.
          assert.ok(dek!.keyId === keyId || dek!.keyId === keyId + 1, `key ${dek!.keyId} after ${keyId}`);
          if (round > 0) note(stateOf(dek!, keyId));
          keyId = dek!.keyId;
        } else if (event === 'rotated') {
          keyId = dek!.keyId;
        } else if ((rotating += 1) === rotations) {
          killing = delay(afterMs).then(kill);
        }
      }
      assert.equal(await end, 'SIGKILL');
      await killing;
      totals.kills += 1;
      if (round % 5 === 0) {
        const looked = await open({ readOnly: true });
        expectRecords(looked, 'w', acknowledged);
        await looked.close();
      }
    }
    totals.acknowledged += acknowledged.length;
    const { lines } = await run({});
    assert.equal(lines.at(-1)?.event, 'done', JSON.stringify(lines.at(-1)));
    const service = await open();
    expectRecords(service, 'k', Array(records).keys());
    expectRecords(service, 'w', acknowledged);
    assert.equal(service.status().dek.rotation, 'complete');
    await service.verify();
    await service.close();
    assert.ok(found.pending > steps.length, 'no kill found a rotation pending');
  });
});
