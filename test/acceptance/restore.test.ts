// The auto-restore workflow: every part of the document, on real SoftHSM2 tokens.
import assert from 'node:assert/strict';
import { createHash, createVerify, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { isPersistenceError } from '../../lib/errors.js';
import type { RestoreEvent } from '../../lib/restore/steps.js';
import { rejectsReason } from '../support/errors.js';
import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin, snapshot } from '../support/softhsm.js';
import { binding, quickKdf } from '../support/stores.js';
import { makeToken } from '../../lib/restore/token-setup.js';

describe('acceptance: auto-restore', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
  });
  afterEach(async () => {
    await world.closeAll();
  });

  const secondToken = async (label: string) => {
    const slotId = await world.emptySlot();
    return { slotId, label, soPin: bytes(soPin) };
  };

  it('trigger: five token directories are classified, and two of them lead into a restore', async () => {
    await world.makeStore();
    assert.equal((await world.detect()).state, 'WIZARD_COMPLETED');
    const wrongPin = await world.detect({ pin: bytes('9999-none') });
    assert.deepEqual([wrongPin.state, wrongPin.found.token], ['PIN', 'pin-wrong']);

    world.destroyKek();
    const kekLost = await world.detect();
    assert.deepEqual([kekLost.state, kekLost.found.token], ['WIZARD_AUTO_RESTORE_PASSWORD', 'kek-missing']);

    world.loseTokens();
    const tokenLost = await world.detect();
    assert.deepEqual(
      [tokenLost.state, tokenLost.found.token],
      ['WIZARD_SETUP_HSM_AUTORESTORE', 'token-missing'],
    );
    assert.equal(tokenLost.tokens?.length, 1);

    writeFileSync(
      world.configuration,
      `directories.tokendir = ${world.root}/nowhere\nobjectstore.backend = file\n`,
    );
    const unreachable = await world.detect();
    assert.deepEqual([unreachable.state, unreachable.found.token], ['OUTAGE', 'hsm-unreachable']);
    // Neither can be restored, with whatever password.
    await rejectsReason(world.restore(), 'hsm-unreachable');
  });

  it('trigger: detection changes nothing, can be repeated, and ends when a module does not load', async () => {
    await world.makeStore();
    world.destroyKek();
    const before = world.files();
    const first = await world.detect();
    const second = await world.detect();
    assert.deepEqual(second.found, first.found);
    assert.deepEqual(world.files(), before);
    const bogus = await world.detect({ module: '/nowhere/module.so' });
    assert.deepEqual([bogus.state, bogus.found.token], ['OUTAGE', 'hsm-unreachable']);
    const noModule = await world.detect({ module: '/bin/true' });
    assert.equal(noModule.state, 'OUTAGE');
  });

  it('trigger: a module that hangs is an outage within its time limit, and holds no process back', async () => {
    await world.makeStore();
    const source = join(world.root, 'hung.c');
    const module = join(world.root, 'hung.so');
    writeFileSync(source, '#include <unistd.h>\nlong C_GetFunctionList(void **list) { for (;;) pause(); }\n');
    execFileSync('cc', ['-shared', '-fPIC', '-o', module, source]);
    const started = performance.now();
    const found = await world.detect({ module, timeLimitMs: 300 });
    assert.deepEqual([found.state, found.found.token], ['OUTAGE', 'hsm-unreachable']);
    await rejectsReason(
      world.open({ protector: world.protector({ module, timeLimitMs: 300 }) }),
      'hsm-unreachable',
    );
    assert.ok(performance.now() - started < 5000);
    const script = `
      import { listTokens } from ${JSON.stringify(join(import.meta.dirname, '../../lib/index.ts'))};
      await listTokens({ module: ${JSON.stringify(module)}, timeLimitMs: 200 }).catch((e) => console.log(e.reason));`;
    const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(said, 'hsm-unreachable\n');
  });

  it('SOFTWARE protection: no module is loaded, whatever its path, and there is nothing to restore', async () => {
    await world.makeStore({ protector: { type: 'software' } });
    const module = '/nowhere/module.so';
    const found = await world.detect({ module });
    assert.deepEqual(
      [found.state, found.scenario, found.found.token],
      ['WIZARD_COMPLETED', undefined, 'not-asked'],
    );
    await rejectsReason(world.restore({ protector: world.protector({ module }) }), 'nothing-to-do');
    await rejectsReason(world.restore({ protector: { type: 'software' } }), 'nothing-to-do');
    const maps = readFileSync('/proc/self/maps', 'utf8');
    assert.ok(!maps.includes('/nowhere'));
    const service = await world.open({ protector: { type: 'software' } });
    assert.equal(service.status().token, undefined);
    assert.equal(service.restore, undefined);
  });

  it('KEK: AES-256, sensitive, private, never to be extracted, unique by label and id', async () => {
    await world.makeStore();
    const login = ['--token-label', 'acme', '--login', '--pin', pin];
    const listed = world.tool(...login, '--list-objects', '--type', 'secrkey');
    assert.match(listed, /Secret Key Object; AES length 32/);
    assert.match(listed, /sensitive, always sensitive, never extractable, local/);
    assert.equal(world.keks(), 1);
    const hidden = world.tool('--token-label', 'acme', '--list-objects', '--type', 'secrkey');
    assert.ok(!hidden.includes('strongroom test'), 'private: not seen without the PIN');
    const service = await world.open();
    const { token } = service.status();
    assert.equal(token?.kekType, 'AES-256');
    assert.match(listed, new RegExp(token.kekId));
    assert.throws(() =>
      world.tool(...login, '--read-object', '--type', 'secrkey', '--label', 'strongroom test'),
    );
  });

  it('DEK: any flipped byte of the stored record is a typed error, never garbage', async () => {
    await world.makeStore();
    const file = join(world.directory, 'persistence.bin');
    const whole = readFileSync(file);
    const half = whole.length / 2;
    let flips = 0;
    // Both copies alike, so that neither can mend the other; the slot stands in the first bytes.
    const end = whole.subarray(0, half).findLastIndex((byte) => byte !== 0) + 1;
    for (let at = 0; at < end; at += 7) {
      const changed = Buffer.from(whole);
      for (const offset of [at, at + half]) changed[offset] = (changed[offset] ?? 0) ^ 0x10;
      writeFileSync(file, changed);
      const error = await world.open().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(isPersistenceError(error), `byte ${at} went unnoticed`);
      assert.notEqual(error.reason, 'internal', `byte ${at}`);
      flips += 1;
    }
    writeFileSync(file, whole);
    assert.ok(flips > 50, `${flips} flips`);
    const service = await world.open();
    assert.equal(service.vault.get('seats')?.toString(), '12');
  });

  it('backup password: the right one opens the same DEK, a wrong one changes no byte and is made to wait', async () => {
    await world.makeStore();
    world.destroyKek();
    const before = world.files();
    for (let n = 0; n < 3; n += 1) {
      await rejectsReason(world.restore({ credential: { password: bytes(`wrong ${n}`) } }), 'password-wrong');
    }
    const refused = await rejectsReason(world.restore(), 'password-throttled');
    assert.equal(refused.retryable, true);
    assert.ok((refused.retryAfterMs ?? 0) > 0 && (refused.retryAfterMs ?? 0) <= 1000);
    assert.deepEqual(world.files(), before);
    await new Promise((resolve) => setTimeout(resolve, refused.retryAfterMs));
    const service = await world.restore();
    assert.equal(service.vault.get('seats')?.toString(), '12');
  });

  it('backup password: many wrong ones side by side stay within bounded memory, one derivation at a time', async () => {
    await world.makeStore({
      recovery: { password: bytes(backupPassword), kdf: { memoryKiB: 65_536, passes: 1 } },
    });
    world.destroyKek();
    const before = process.memoryUsage().rss;
    let highest = before;
    const watch = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage().rss);
    }, 2);
    const tries = Array.from({ length: 1000 }, (_, n) =>
      world.restore({ credential: { password: bytes(`wrong ${n}`) } }).then(
        () => 'opened',
        (error: unknown) => (isPersistenceError(error) ? error.reason : String(error)),
      ),
    );
    const outcomes = await Promise.all(tries);
    clearInterval(watch);
    const counts = new Map<string, number>();
    for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    assert.deepEqual([...counts].sort(), [
      ['password-wrong', 1],
      ['restore-busy', 999],
    ]);
    assert.ok(
      highest - before < 200 * 1024 * 1024,
      `${Math.round((highest - before) / 1024 / 1024)} MiB more`,
    );
    assert.equal(world.keks(), 0);
  });

  it('auto-restore scenario 1: the KEK is destroyed by another process; the password brings the store back with a new one', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.vault.set('seats', bytes('12'));
    await service.keys.generate({ id: 'signing', algorithm: 'EC-P256', location: 'hsm' });
    await service.close();
    const login = ['--token-label', 'acme', '--login', '--pin', pin];
    const note = join(world.root, 'note');
    writeFileSync(note, 'of another application');
    world.tool(...login, '--write-object', note, '--type', 'data', '--label', 'theirs', '--private');
    world.destroyKek();

    const refused = await rejectsReason(world.open(), 'kek-missing');
    assert.match(refused.remedy, /restore/);
    const found = await world.detect();
    assert.deepEqual([found.state, found.scenario], ['WIZARD_AUTO_RESTORE_PASSWORD', 1]);
    assert.equal(found.token?.label, 'acme');
    const events: RestoreEvent[] = [];
    const restored = await world.restore({ onStep: (event) => events.push(event) });
    assert.equal(restored.vault.get('seats')?.toString(), '12');
    assert.equal(restored.restore?.completed, true);
    assert.equal(restored.restore.cause, 'kek-missing');
    assert.equal(restored.keys.get('signing').state, 'active');
    await restored.keys.sign('signing', { message: bytes('x') });
    assert.deepEqual(
      events.filter(({ state }) => state === 'done').map(({ step }) => step),
      ['detect', 'password', 'witnesses', 'token', 'kek', 'witness', 'commit', 'completed'],
    );
    await restored.close();
    assert.equal(world.keks(), 1);
    assert.match(world.tool(...login, '--list-objects', '--type', 'data'), /theirs/);
    assert.deepEqual(
      [(await world.detect()).state, (await world.detect()).scenario],
      ['WIZARD_COMPLETED', 3],
    );
    await rejectsReason(world.restore(), 'nothing-to-do');
  });

  it('auto-restore scenario 2: the HSM is lost; another token is set up, keys of the lost one are deactivated', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.vault.set('seats', bytes('12'));
    await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    await service.keys.generate({ id: 'own', algorithm: 'Ed25519', location: 'vault' });
    const former = service.status().token;
    await service.close();
    world.loseTokens();

    await rejectsReason(world.open(), 'token-missing');
    const found = await world.detect();
    assert.deepEqual([found.state, found.scenario], ['WIZARD_SETUP_HSM_AUTORESTORE', 2]);
    assert.equal(found.token?.serial, former?.serial);
    await rejectsReason(world.restore(), 'token-missing');

    const restored = await world.restore({ setUp: await secondToken('acme') });
    assert.equal(restored.vault.get('seats')?.toString(), '12');
    const status = restored.status();
    assert.notEqual(status.token?.serial, former?.serial);
    assert.equal(status.restore?.formerSerial, former?.serial);
    assert.equal(status.restore?.keysDeactivated, 1);
    assert.deepEqual(
      status.witnesses.map(({ name }) => name),
      ['tamper-file', 'secret-store', 'token'],
    );
    assert.equal(restored.keys.get('ca').state, 'deactivated');
    await rejectsReason(restored.keys.sign('ca', { message: bytes('x') }), 'key-deactivated');
    await restored.keys.sign('own', { message: bytes('x') });
    await restored.close();
    const again = await world.open();
    assert.equal(again.keys.get('ca').state, 'deactivated');
    assert.equal(again.status().continuity, 'proven');
    assert.equal(world.keks(), 1);
  });

  it('auto-restore scenario 2: set up by `hsm setup` first, the password is all that is asked for', async () => {
    await world.makeStore();
    world.loseTokens();
    await world.make('acme');
    const found = await world.detect();
    assert.deepEqual([found.state, found.scenario], ['WIZARD_AUTO_RESTORE_PASSWORD', 1]);
    const restored = await world.restore();
    assert.equal(restored.vault.get('seats')?.toString(), '12');
  });

  it('auto-restore scenario 3: the KEK is there; no question, one unwrap, and the key slots stay as they are', async () => {
    await world.makeStore();
    const file = join(world.directory, 'persistence.bin');
    const before = readFileSync(file);
    const service = await world.open();
    assert.equal(service.startup, 'WARMSTART');
    assert.equal(service.restore, undefined);
    await service.close();
    assert.deepEqual(readFileSync(file), before);
    assert.equal(world.keks(), 1);
  });

  it('managestartup detects: from real files, token and journal to each state', async () => {
    const empty = await world.detect();
    assert.equal(empty.state, 'NO_STORE');
    await world.makeStore();
    const { state, scenario, found } = await world.detect();
    assert.deepEqual([state, scenario], ['WIZARD_COMPLETED', 3]);
    assert.deepEqual(found, {
      protector: 'pkcs11',
      files: 'complete',
      token: 'ok',
      journal: 'none',
      history: 'ok',
      passwordSlot: true,
    });
    world.destroyKek();
    await rejectsReason(world.restore({ hook: '/bin/false' }), 'hook-failed');
    const pending = await world.detect();
    assert.deepEqual([pending.state, pending.found.journal], ['WIZARD_AUTO_RESTORE_PASSWORD', 'pending']);
    await (await world.restore()).close();
    assert.equal((await world.detect()).found.journal, 'completed');
    // A rollback is refused, and no restore is offered for it.
    const older = snapshot(world.directory);
    const service = await world.open();
    await service.vault.set('seats', bytes('0'), { durability: 'witnessed' });
    await service.close();
    for (const [path, content] of older) writeFileSync(path, Buffer.from(content, 'hex'));
    const refused = await world.detect();
    assert.deepEqual([refused.state, refused.cause?.reason], ['REFUSED', 'vault-rolled-back']);
    world.destroyKek();
    await rejectsReason(world.restore(), 'vault-rolled-back');
  });

  it('WIZARD_COMPLETED: until then reads, writes and signatures are refused, also after a restart', async () => {
    await world.makeStore();
    world.destroyKek();
    await rejectsReason(world.restore({ hook: '/bin/false' }), 'hook-failed');
    for (const readOnly of [false, true]) {
      const refused = await rejectsReason(world.open({ readOnly }), 'restore-required');
      assert.equal(refused.code, 'PERS_8004');
    }
    const before = world.files();
    await rejectsReason(world.restore({ credential: { password: bytes('wrong') } }), 'password-wrong');
    assert.deepEqual(
      world.files(),
      before,
      'the password is asked for again, and a wrong one changes nothing',
    );
    const restored = await world.restore();
    assert.equal(restored.vault.get('seats')?.toString(), '12');
    assert.equal(world.keks(), 1);
  });

  it('DEK recovery: one restore at a time, in this process and across processes', async () => {
    await world.makeStore();
    world.destroyKek();
    const both = await Promise.allSettled([world.restore(), world.restore()]);
    const reasons = both.map((outcome) =>
      outcome.status === 'rejected' && isPersistenceError(outcome.reason)
        ? outcome.reason.reason
        : outcome.status,
    );
    assert.deepEqual(reasons.sort(), ['fulfilled', 'restore-busy']);
    assert.equal(world.keks(), 1);
  });

  describe('with a TLS credential', () => {
    const credential = (): { key: string; certificate: string } => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      const file = join(world.root, 'key.pem');
      writeFileSync(file, key);
      const certificate = execFileSync(
        'openssl',
        ['req', '-x509', '-key', file, '-subj', '/CN=acme.example', '-days', '30'],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      );
      return { key, certificate };
    };

    it('TLS extraction: the stored files, 0600, replaced whole; a chain that is gone is removed; failures keep the old', async () => {
      const { key, certificate } = credential();
      const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
      await service.tls.set({ key, certificate });
      await service.close();
      const directory = join(world.root, 'tls');
      mkdirSync(directory, { mode: 0o700 });
      writeFileSync(join(directory, 'chain.pem'), 'old');
      writeFileSync(join(directory, 'tls.key'), 'old');
      world.destroyKek();
      const away = join(world.root, 'no-such-directory');
      await rejectsReason(world.restore({ tls: { directory: away } }), 'not-found');
      assert.equal(readFileSync(join(directory, 'tls.key'), 'utf8'), 'old');
      const restored = await world.restore({ tls: { directory } });
      assert.equal(readFileSync(join(directory, 'tls.key'), 'utf8'), key);
      assert.equal(readFileSync(join(directory, 'tls.crt'), 'utf8'), certificate);
      assert.equal(statSync(join(directory, 'tls.key')).mode & 0o777, 0o600);
      assert.ok(!existsSync(join(directory, 'chain.pem')));
      assert.equal(new X509Certificate(certificate).subject, 'CN=acme.example');
      const told = (await restored.auditLog()).map(({ operation }) => operation);
      assert.ok(told.includes('restore-tls'));
    });
  });

  it('CA deactivation: in the same commit, with its reason, until the key proves itself again', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    const made = await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    const spki = service.keys.publicKey('ca');
    await service.close();
    world.takeAway();
    mkdirSync(world.tokens);
    const restored = await world.restore({
      setUp: await secondToken('successor'),
      protector: world.protector({ token: 'successor' }),
    });
    const ca = restored.keys.get('ca');
    assert.equal(ca.state, 'deactivated');
    assert.match(
      ca.reason ?? '',
      new RegExp(`lost with the token 'acme', serial number ${made.tokenSerial ?? ''}`),
    );
    const { generation } = restored.restore ?? assert.fail('no restore');
    const commit = (await restored.auditLog()).find((entry) => entry.generation === generation);
    assert.equal(commit?.operation, 'restore');
    // Slot, journal and key: three records, and TIME_TAMPER when it was due.
    assert.ok(commit.operations >= 3, String(commit.operations));
    await rejectsReason(restored.keys.reactivate('ca'), 'key-not-found');
    await rejectsReason(restored.keys.sign('ca', { message: bytes('x') }), 'key-deactivated');
    assert.deepEqual(restored.keys.publicKey('ca'), spki);
  });

  it('CA deactivation: a key that is back is reactivated by proof alone', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    await service.keys.deactivate('ca', 'for a while');
    await rejectsReason(service.keys.sign('ca', { message: bytes('x') }), 'key-deactivated');
    await service.keys.reactivate('ca');
    const signature = await service.keys.sign('ca', { message: bytes('x') });
    const key = { key: service.keys.publicKey('ca'), format: 'der', type: 'spki' } as const;
    assert.ok(createVerify('sha256').update('x').verify(key, signature));
    const digest = createHash('sha256').update('x').digest();
    const raw = await service.keys.sign('ca', { digest, format: 'raw' });
    assert.ok(
      createVerify('sha256')
        .update('x')
        .verify({ ...key, dsaEncoding: 'ieee-p1363' }, raw),
    );
  });

  it('sudo wizard_auto_restore_success.sh: each failure has a code and leaves the restore to be gone on with', async () => {
    await world.makeStore();
    world.destroyKek();
    const hook = join(world.root, 'hook');
    const write = (text: string, mode: number): void => {
      writeFileSync(hook, `#!/bin/sh\n${text}\n`);
      chmodSync(hook, mode);
    };
    await rejectsReason(world.restore({ hook }), 'hook-not-found');
    write('exit 0', 0o600);
    await rejectsReason(world.restore({ hook }), 'hook-not-permitted');
    write('echo bad configuration >&2; exit 4', 0o700);
    assert.match(
      (await rejectsReason(world.restore({ hook }), 'hook-failed')).message,
      /exit code 4: bad configuration/,
    );
    write('sleep 30', 0o700);
    await rejectsReason(world.restore({ hook, hookTimeLimitMs: 200 }), 'hook-timeout');
    await rejectsReason(world.open(), 'restore-required');
    write(`echo "$#" >> ${world.root}/ran`, 0o700);
    const restored = await world.restore({ hook });
    assert.equal(restored.restore?.completed, true);
    assert.equal(readFileSync(join(world.root, 'ran'), 'utf8'), '0\n', 'run once, without arguments');
    assert.equal(world.keks(), 1);
  });

  it('sudo wizard_setup_hsm.sh: an initialised token is erased only by its label, a label is given once, the slot counts', async () => {
    const [token] = (await world.list()).filter(({ initialised }) => initialised);
    const { slotId: taken } = token ?? assert.fail('no token');
    const place = { module: softhsm, soPin: bytes(soPin), pin: bytes(pin) };
    const empty = await world.emptySlot();
    const before = snapshot(world.tokens);
    const refused = await rejectsReason(
      makeToken(binding, { ...place, slotId: taken, label: 'x' }),
      'token-not-confirmed',
    );
    assert.match(refused.message, /the token 'acme' \(serial number /, 'what would be erased is shown');
    for (const erase of ['', 'Acme', 'acme ']) {
      await rejectsReason(
        makeToken(binding, { ...place, slotId: taken, label: 'x', erase }),
        'token-not-confirmed',
      );
    }
    await rejectsReason(makeToken(binding, { ...place, slotId: empty, label: 'acme' }), 'token-exists');
    await rejectsReason(makeToken(binding, { ...place, slotId: 4711, label: 'x' }), 'token-missing');
    assert.deepEqual(snapshot(world.tokens), before);
    const made = await makeToken(binding, { ...place, slotId: empty, label: 'second' });
    assert.notEqual(made.slotId, taken);
    assert.equal((await world.list()).filter(({ initialised }) => initialised).length, 2);
    await makeToken(binding, { ...place, slotId: made.slotId, label: 'third', erase: 'second' });
    const labels = (await world.list()).filter(({ initialised }) => initialised).map(({ label }) => label);
    assert.deepEqual(labels.sort(), ['acme', 'third']);
  });

  it('Done: the audit log tells the story without a secret, and the next start is scenario 3', async () => {
    await world.makeStore();
    world.destroyKek();
    const restored = await world.restore({ hook: '/bin/true' });
    const told = (await restored.auditLog()).map(({ operation }) => operation);
    assert.deepEqual(
      told.filter((operation) => operation.startsWith('restore')),
      [
        'restore-detected',
        'restore-password',
        'restore-token',
        'restore',
        'restore-keys',
        'restore-hook',
        'restore-completed',
      ],
    );
    await restored.close();
    for (const [path, content] of snapshot(world.directory, world.secrets)) {
      for (const secret of [backupPassword, pin]) {
        assert.ok(!content.includes(bytes(secret).toString('hex')), `${path} holds a secret`);
      }
    }
    assert.equal((await world.detect()).scenario, 3);
  });
});
