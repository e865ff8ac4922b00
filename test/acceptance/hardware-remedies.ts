// The states of stores whose root is in a real TPM (swtpm) or a real token (SoftHSM2), each with the way out that its
// remedy names.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Reason } from '../../lib/error-table.js';
import type { PersistenceError } from '../../lib/errors.js';
import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { makeToken } from '../../lib/restore/token-setup.js';
import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin } from '../support/softhsm.js';
import { binding } from '../support/stores.js';
import { FaultyModule } from './faulty-module.js';
import { Remedy } from './remedy.js';
import { checkAgainstTable, recovery, rejection, text } from './support.js';
import { TpmPlace } from './tpm-place.js';

type Remedied = () => Promise<void>;

function expect(error: PersistenceError, reason: Reason): PersistenceError {
  assert.equal(error.reason, reason, error.message);
  checkAgainstTable(error);
  return error;
}

/** A store with its root in a TPM, and what a start answers when `spoil` is done. */
const onATpm =
  (
    reason: Reason,
    spoil: (place: TpmPlace) => unknown,
    follow: (place: TpmPlace, remedy: Remedy) => Promise<unknown>,
    prepare: (place: TpmPlace) => unknown = () => undefined,
  ): Remedied =>
  async () => {
    const place = await TpmPlace.made();
    try {
      place.clock.setWall(Date.now());
      await prepare(place);
      await place.made();
      await spoil(place);
      const error = expect(await rejection(place.open()), reason);
      await follow(place, new Remedy(error, place.directory));
      await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'value 1'));
    } finally {
      await place.closeAll();
    }
  };

/** The storage key at its persistent handle, by a template that nobody else knows. */
function makeStorageKey({ tpm }: TpmPlace): void {
  writeFileSync(join(tpm.directory, 'unique'), Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(256, 'u')]));
  const attributes = 'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda';
  tpm.tool(
    'createprimary', '-C', 'o', '-G', 'rsa2048:aes128cfb', '-c', 'key', '-a', attributes, '-u', 'unique',
  ); // prettier-ignore
  tpm.tool('evictcontrol', '-C', 'o', '-c', 'key', '0x81000001');
  tpm.tool('flushcontext', '-t');
}
const removeStorageKey = ({ tpm }: TpmPlace): unknown =>
  tpm.tool('evictcontrol', '-C', 'o', '-c', '0x81000001');

const resealed = (_place: TpmPlace, remedy: Remedy): Promise<unknown> => remedy.command('reseal');

const ofATpm: Partial<Record<Reason, Remedied>> = {
  'vault-forked': onATpm(
    'vault-forked',
    async (place) => {
      // One virtual TPM, set back between two copies of a store: both went on from the same state.
      const [state, copy] = [join(place.root, 'state'), join(place.root, 'copy')];
      await place.tpm.kill();
      place.tpm.copyState(state);
      cpSync(place.directory, copy, { recursive: true });
      await place.tpm.start();
      await place.visit();
      const first = place.snapshot();
      await place.tpm.kill();
      place.tpm.restoreState(state);
      await place.tpm.start();
      rmSync(place.directory, { recursive: true });
      cpSync(copy, place.directory, { recursive: true });
      chmodSync(place.directory, 0o700);
      await place.visit();
      rmSync(copy, { recursive: true });
      cpSync(place.directory, copy, { recursive: true });
      place.restore(first);
    },
    async (place, remedy) => {
      const refused = place.snapshot();
      rmSync(place.directory, { recursive: true });
      cpSync(join(place.root, 'copy'), place.directory, { recursive: true });
      chmodSync(place.directory, 0o700);
      await place.visit();
      // And the choice of the other one, which is accepted by authority.
      place.restore(refused);
      remedy.says('status');
      await remedy.command('reanchor');
    },
  ),
  'tpm-unavailable': onATpm(
    'tpm-unavailable',
    (place) => place.tpm.kill(),
    (place) => place.tpm.start(),
  ),
  'tpm-refused': async () => {
    const place = await TpmPlace.made();
    try {
      place.tpm.tool('changeauth', '-c', 'owner', 'secret');
      expect(await rejection(place.open({ recovery })), 'tpm-refused');
      place.tpm.tool('changeauth', '-c', 'owner', '-p', 'secret');
      await place.made();
    } finally {
      await place.closeAll();
    }
  },
  'tpm-pcr-changed': onATpm(
    'tpm-pcr-changed',
    (place) => {
      place.tpm.extend(16);
    },
    async (place, remedy) => {
      // The former configuration is booted; the other way is for one that stays.
      await place.tpm.restart();
      await place.visit();
      place.tpm.extend(16);
      await remedy.command('reseal');
    },
    (place) => {
      place.tpmOptions = { pcrs: [16] };
    },
  ),
  'tpm-replaced': onATpm('tpm-replaced', (place) => place.tpm.replace(), resealed),
  'tpm-cleared': onATpm(
    'tpm-cleared',
    (place) => {
      place.tpm.clear();
    },
    resealed,
  ),
  'tpm-key-missing': onATpm(
    'tpm-key-missing',
    removeStorageKey,
    async (place, remedy) => {
      makeStorageKey(place);
      await place.visit();
      removeStorageKey(place);
      await remedy.command('reseal');
    },
    makeStorageKey,
  ),
  'pin-missing': onATpm(
    'pin-missing',
    (place) => {
      place.tpmOptions = {};
    },
    async (place) => {
      place.tpmOptions = { pin: bytes('2580') };
    },
    (place) => {
      place.tpmOptions = { pin: bytes('2580') };
    },
  ),
  'pin-wrong': onATpm(
    'pin-wrong',
    (place) => {
      place.tpmOptions = { pin: bytes('0852') };
    },
    async (place) => {
      place.tpmOptions = { pin: bytes('2580') };
    },
    (place) => {
      place.tpmOptions = { pin: bytes('2580') };
    },
  ),
};

/** One machine with a token. */
class Tokens extends HsmWorld {
  nowMs = 0;
  override readonly throttle = new PasswordThrottle(() => this.nowMs);
  #faulty: FaultyModule | undefined;

  get faulty(): FaultyModule {
    this.#faulty ??= new FaultyModule(this.root);
    return this.#faulty;
  }
  remedy(error: PersistenceError, env: NodeJS.ProcessEnv = {}): Remedy {
    return new Remedy(error, this.directory, {
      SOFTHSM2_CONF: this.configuration,
      STRONGROOM_PIN: pin,
      STRONGROOM_PKCS11_MODULE: softhsm,
      ...env,
    });
  }
  login(label = 'acme', by = pin): string[] {
    return ['--token-label', label, '--login', '--pin', by];
  }
  /** The store opens, with what was stored in it. */
  async opens(changes: Parameters<HsmWorld['open']>[0] = {}): Promise<void> {
    const service = await this.open(changes);
    assert.equal(text(service.vault.get('seats')), '12');
    await service.close();
  }
  /** By another program, with the label and the id of the store's key. */
  makeKey(id: string): void {
    this.tool(
      ...this.login(), '--keygen', '--key-type', 'aes:32', '--label', 'strongroom test', '--id', id,
    ); // prettier-ignore
  }
  async kekId(): Promise<string> {
    const service = await this.open();
    const { token } = service.status();
    await service.close();
    return token!.kekId;
  }
  objectFiles(): Set<string> {
    const names = readdirSync(this.tokens, { recursive: true, encoding: 'utf8' });
    return new Set(names.filter((name) => name.endsWith('.object')));
  }
  /** Keeps the whole persistence.bin as `whole`. */
  damageWrap(): void {
    const file = join(this.directory, 'persistence.bin');
    cpSync(file, join(this.root, 'whole'));
    writeFileSync(file, withDamagedWrap(readFileSync(file)));
  }
  hook(words: string, mode = 0o700): string {
    const path = join(this.root, 'hook');
    writeFileSync(path, `#!/bin/sh\n${words}\n`);
    chmodSync(path, mode);
    return path;
  }
}

const onAToken =
  (work: (world: Tokens) => Promise<unknown>, label: string | undefined = 'acme'): Remedied =>
  async () => {
    const world = new Tokens();
    try {
      if (label !== undefined) await world.make(label);
      await work(world);
    } finally {
      await world.closeAll();
    }
  };

/** A store, what a start answers when `spoil` is done, and what follows. */
const storeOnAToken = (
  reason: Reason,
  spoil: (world: Tokens) => unknown,
  follow: (world: Tokens, remedy: Remedy) => unknown,
): Remedied =>
  onAToken(async (world) => {
    await world.makeStore();
    await spoil(world);
    const error = expect(await rejection(world.open()), reason);
    await follow(world, world.remedy(error));
    await world.opens();
  });

const restored = (_world: Tokens, remedy: Remedy): Promise<unknown> => remedy.command('restore');

/** A restore whose hook is not as it should be. */
const hookThatIsWrong = (reason: Reason, spoil: (world: Tokens) => string, limit?: number): Remedied =>
  onAToken(async (world) => {
    await world.makeStore();
    world.destroyKek();
    const hook = spoil(world);
    const options = { hook, ...(limit !== undefined && { hookTimeLimitMs: limit }) };
    const error = expect(await rejection(world.restore(options)), reason);
    const path = world.hook('exit 0');
    await world.remedy(error).command('restore', '--hook', path);
    await world.opens();
  });

const place = { module: softhsm, soPin: bytes(soPin), pin: bytes(pin) };

const ofAToken: Partial<Record<Reason, Remedied>> = {
  'pin-locked': onAToken(async (world) => {
    await world.makeStore();
    const protector = world.protector({ module: world.faulty.path });
    world.faulty.fail({ C_Login: 0xa4 });
    const error = expect(await rejection(world.open({ protector })), 'pin-locked');
    assert.match(error.remedy, /security officer set a new PIN/);
    world.tool(
      '--token-label', 'acme', '--login', '--login-type', 'so', '--so-pin', soPin, '--init-pin', '--new-pin', 'another-pin',
    ); // prettier-ignore
    world.faulty.works();
    // Another process, as after a restart: SoftHSM keeps the former PIN in this one.
    const env = { STRONGROOM_PIN: 'another-pin', STRONGROOM_PKCS11_MODULE: world.faulty.path };
    await world.remedy(error, env).run('verify');
  }),
  'pin-length': onAToken(async (world) => {
    const slotId = await world.emptySlot();
    const plan = { ...place, slotId, label: 'second' };
    expect(await rejection(makeToken(binding, { ...plan, pin: bytes('1') })), 'pin-length');
    await makeToken(binding, plan);
  }),
  'pin-expired': onAToken(async (world) => {
    await world.makeStore();
    const protector = world.protector({ module: world.faulty.path });
    world.faulty.fail({ C_Login: 0xa3 });
    const error = expect(await rejection(world.open({ protector })), 'pin-expired');
    assert.match(error.remedy, /pkcs11-tool --login --change-pin/);
    world.tool(...world.login(), '--change-pin', '--new-pin', 'another-pin');
    world.faulty.works();
    // Another process, as after a restart: SoftHSM keeps the former PIN in this one.
    const env = { STRONGROOM_PIN: 'another-pin', STRONGROOM_PKCS11_MODULE: world.faulty.path };
    await world.remedy(error, env).run('verify');
  }),
  'pin-not-initialized': onAToken(async (world) => {
    const slot = String(await world.emptySlot());
    world.tool('--init-token', '--slot', slot, '--label', 'bare', '--so-pin', soPin);
    const protector = world.protector({ token: 'bare' });
    const error = expect(await rejection(world.open({ protector })), 'pin-not-initialized');
    assert.match(error.remedy, /pkcs11-tool --init-pin/);
    world.tool(
      '--token-label', 'bare', '--init-pin', '--login', '--login-type', 'so', '--so-pin', soPin, '--new-pin', pin,
    ); // prettier-ignore
    await world.makeStore({ protector });
  }),
  'hsm-unreachable': onAToken(async (world) => {
    await world.makeStore();
    world.takeAway();
    const error = expect(await rejection(world.open()), 'hsm-unreachable');
    world.bringBack();
    await world.opens();
    // The other way, for a device that is given up.
    world.takeAway();
    const [former, configuration] = [world.configuration, join(world.root, 'another.conf')];
    const another = join(world.root, 'another');
    mkdirSync(another);
    writeFileSync(configuration, readFileSync(former, 'utf8').replace(world.tokens, another));
    process.env['SOFTHSM2_CONF'] = configuration;
    try {
      await world.make('successor');
      const remedy = world.remedy(error, { SOFTHSM2_CONF: configuration });
      await remedy.command('restore --another-token', '--token', 'successor');
      await world.opens({ protector: world.protector({ token: 'successor' }) });
    } finally {
      process.env['SOFTHSM2_CONF'] = former;
    }
  }),
  'hsm-refused': onAToken(async (world) => {
    // CKR_ATTRIBUTE_VALUE_INVALID, whatever the key.
    world.faulty.fail({ C_GenerateKey: 0x13, C_GenerateKeyPair: 0x13 });
    const protector = world.protector({ module: world.faulty.path });
    const error = expect(await rejection(world.open({ protector, recovery })), 'hsm-refused');
    assert.match(error.message, /C_GenerateKey/);
    world.faulty.works();
    await world.makeStore({ protector });
  }),
  'hsm-algorithm-missing': onAToken(async (world) => {
    world.faulty.fail({ C_GetMechanismInfo: 0x70, C_GenerateKey: 0x70, C_GenerateKeyPair: 0x70 });
    const protector = world.protector({ module: world.faulty.path });
    expect(await rejection(world.open({ protector, recovery })), 'hsm-algorithm-missing');
    // Another token has them.
    await world.makeStore();
  }),
  'token-write-failed': onAToken(async (world) => {
    const protector = world.protector({ module: world.faulty.path });
    await world.makeStore({ protector });
    world.faulty.fail({ C_CreateObject: 0x31 });
    const error = expect(await rejection(world.open({ protector })), 'token-write-failed');
    assert.match(error.message, /the token 'acme'/);
    world.faulty.works();
    await world.opens({ protector });
  }),
  'token-missing': storeOnAToken(
    'token-missing',
    (world) => {
      world.loseTokens();
    },
    async (world, remedy) => {
      const soPinFile = join(world.root, 'so-pin');
      writeFileSync(soPinFile, soPin, { mode: 0o600 });
      const slot = String(await world.emptySlot());
      await remedy.command('restore --setup-slot', slot, '--so-pin-file', soPinFile);
    },
  ),
  'token-misnamed': onAToken(async (world) => {
    await world.makeStore();
    await world.make('other');
    const error = expect(
      await rejection(world.open({ protector: world.protector({ token: 'other' }) })),
      'token-misnamed',
    );
    await world.opens();
    await world.remedy(error).command('restore --another-token', '--token', 'other');
    await world.opens({ protector: world.protector({ token: 'other' }) });
  }),
  'token-ambiguous': onAToken(async (world) => {
    const twin = ['--init-token', '--free', '--label', 'twin', '--pin', pin, '--so-pin', soPin];
    const make = (): unknown =>
      execFileSync('softhsm2-util', twin, { env: world.environment(), stdio: 'ignore' });
    make();
    make();
    const error = expect(
      await rejection(world.open({ protector: world.protector({ token: 'twin' }), recovery })),
      'token-ambiguous',
    );
    const remedy = world.remedy(error);
    remedy.says('hsm list MODULE');
    const listed = await new Remedy(error, softhsm, remedy.env).run('hsm list', '--json');
    const twins = listed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { label: string; serial: string })
      .filter(({ label }) => label === 'twin');
    assert.equal(twins.length, 2);
    const { serial } = twins[0]!;
    await world.makeStore({ protector: world.protector({ token: { serial } }) });
    await world.opens({ protector: world.protector({ token: { serial } }) });
  }),
  'kek-missing': storeOnAToken(
    'kek-missing',
    (world) => {
      world.destroyKek();
    },
    restored,
  ),
  'kek-duplicate': onAToken(async (world) => {
    await world.makeStore();
    const id = await world.kekId();
    const before = world.objectFiles();
    world.makeKey(id);
    expect(await rejection(world.open()), 'kek-duplicate');
    const foreign = [...world.objectFiles()].filter((name) => !before.has(name));
    assert.equal(foreign.length, 1);
    for (const name of foreign) rmSync(join(world.tokens, name));
    await world.opens();
  }),
  'kek-replaced': storeOnAToken(
    'kek-replaced',
    async (world) => {
      const id = await world.kekId();
      world.destroyKek();
      world.makeKey(id);
    },
    restored,
  ),
  'wrapped-dek-corrupt': storeOnAToken(
    'wrapped-dek-corrupt',
    (world) => {
      world.damageWrap();
    },
    async (world, remedy) => {
      cpSync(join(world.root, 'whole'), join(world.directory, 'persistence.bin'));
      await world.opens();
      // The key slots are authenticated with the rest of the file, so a restore finds which of the two is damaged.
      world.damageWrap();
      remedy.says('restore');
      expect(await rejection(world.restore()), 'persistence-tampered');
      cpSync(join(world.root, 'whole'), join(world.directory, 'persistence.bin'));
    },
  ),
  'restore-required': onAToken(async (world) => {
    await world.makeStore();
    world.destroyKek();
    expect(await rejection(world.restore({ hook: '/bin/false' })), 'hook-failed');
    const error = expect(await rejection(world.open()), 'restore-required');
    await world.remedy(error).command('restore');
    await world.opens();
  }),
  'restore-busy': onAToken(async (world) => {
    await world.makeStore();
    world.destroyKek();
    const both = await Promise.allSettled([world.restore(), world.restore()]);
    const refused = both.find((outcome) => outcome.status === 'rejected');
    expect(refused!.reason as PersistenceError, 'restore-busy');
    const first = both.find((outcome) => outcome.status === 'fulfilled');
    await (first as PromiseFulfilledResult<{ close(): Promise<void> }>).value.close();
    await world.opens();
  }),
  'password-throttled': onAToken(async (world) => {
    await world.makeStore();
    world.destroyKek();
    const attempt = (secret: string): Promise<unknown> =>
      world.restore({ credential: { password: bytes(secret) } });
    for (let n = 0; n < 3; ++n) expect(await rejection(attempt(`wrong ${n}`)), 'password-wrong');
    const error = expect(await rejection(attempt(backupPassword)), 'password-throttled');
    world.nowMs += error.retryAfterMs!;
    await attempt(backupPassword);
  }),
  'token-exists': onAToken(async (world) => {
    const slotId = await world.emptySlot();
    expect(await rejection(makeToken(binding, { ...place, slotId, label: 'acme' })), 'token-exists');
    await makeToken(binding, { ...place, slotId, label: 'another' });
  }),
  'token-not-confirmed': onAToken(async (world) => {
    const [token] = (await world.list()).filter(({ initialised }) => initialised);
    const plan = { ...place, slotId: token!.slotId, label: 'successor' };
    expect(await rejection(makeToken(binding, plan)), 'token-not-confirmed');
    await makeToken(binding, { ...plan, slotId: await world.emptySlot(), label: 'in an empty slot' });
    await makeToken(binding, { ...plan, erase: 'acme' });
  }),
  'hook-not-found': hookThatIsWrong('hook-not-found', (world) => join(world.root, 'none')),
  'hook-not-permitted': hookThatIsWrong('hook-not-permitted', (world) => world.hook('exit 0', 0o600)),
  'hook-failed': hookThatIsWrong('hook-failed', (world) => world.hook('exit 3')),
  'hook-timeout': hookThatIsWrong('hook-timeout', (world) => world.hook('exec sleep 30'), 100),
};

/** One bit of the wrapped DEK in both copies, under checksums that are right. */
function withDamagedWrap(file: Buffer): Buffer {
  const changed = Buffer.from(file);
  const half = changed.length / 2;
  // Nonce, wrapped DEK and tag of the slot are zero, and stand behind its parameters, which end with the wrap.
  const behind = changed.indexOf(Buffer.alloc(60), 37);
  for (const start of [0, half]) {
    const at = start + behind - 8;
    changed[at] = changed[at]! ^ 1;
    const end = start + half - 32;
    createHash('sha256').update(changed.subarray(start, end)).digest().copy(changed, end);
  }
  return changed;
}

/** For each reason its whole test. */
export const hardware: Partial<Record<Reason, Remedied>> = { ...ofATpm, ...ofAToken };
