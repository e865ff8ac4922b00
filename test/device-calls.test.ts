// What one start asks of its device, call by call: nothing is sent twice while nothing can have changed the answer.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

import { HsmWorld, softhsm } from './support/softhsm.js';
import { quickKdf, World } from './support/stores.js';
import { Swtpm } from './support/swtpm.js';

const password = Buffer.from('correct horse battery');

/** How often each call was made, where that is more than once. */
function repeated(calls: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const call of calls) counts.set(call, (counts.get(call) ?? 0) + 1);
  return Object.fromEntries([...counts].filter(([, count]) => count > 1).sort());
}

const spies = [
  '/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so',
  '/usr/lib/aarch64-linux-gnu/pkcs11/pkcs11-spy.so',
  '/usr/lib/x86_64-linux-gnu/pkcs11-spy.so',
];

const commandNames: Readonly<Record<number, string>> = {
  0x131: 'CreatePrimary',
  0x134: 'NV_Increment',
  0x136: 'NV_Extend',
  0x149: 'PolicyNV',
  0x14e: 'NV_Read',
  0x153: 'Create',
  0x157: 'Load',
  0x15e: 'Unseal',
  0x165: 'FlushContext',
  0x169: 'NV_ReadPublic',
  0x173: 'ReadPublic',
  0x176: 'StartAuthSession',
  0x17a: 'GetCapability',
  0x181: 'ReadClock',
};

/** The commands of a TPM that pass a relay in front of it, by their names and what they are about. */
class TpmRelay {
  readonly tcti: string;
  readonly commands: string[] = [];
  readonly #servers: Server[] = [];
  readonly #indices: number[] = [];

  private constructor(
    readonly path: string,
    readonly target: string,
  ) {
    this.tcti = `swtpm:path=${path}`;
  }

  static async before(tpm: Swtpm): Promise<TpmRelay> {
    const relay = new TpmRelay(join(tpm.directory, 'relay'), tpm.socket);
    for (const channel of ['', '.ctrl']) await relay.#listen(channel);
    return relay;
  }

  async #listen(channel: string): Promise<void> {
    const server = createServer((client) => {
      const target = connect(`${this.target}${channel}`);
      client.on('data', (chunk: Buffer) => {
        if (channel === '') this.#note(chunk);
        target.write(chunk);
      });
      target.on('data', (chunk: Buffer) => client.write(chunk));
      client.on('close', () => target.destroy()).on('error', () => target.destroy());
      target.on('close', () => client.destroy()).on('error', () => client.destroy());
    });
    this.#servers.push(server);
    server.listen(`${this.path}${channel}`);
    await once(server, 'listening');
  }

  #note(command: Buffer): void {
    const code = command.readUInt32BE(6);
    const name = commandNames[code] ?? code.toString(16);
    // Behind the handles, what differs is the session: nonces and authorisations.
    const about = name.startsWith('NV_')
      ? command.readUInt32BE(name === 'NV_ReadPublic' ? 10 : 14)
      : undefined;
    const parameters = name === 'GetCapability' ? command.subarray(10).toString('hex') : undefined;
    this.commands.push([name, about === undefined ? parameters : this.#indexName(about)].join(' ').trim());
  }

  /** The indices of a store in the order in which they are met. */
  #indexName(index: number): string {
    if (!this.#indices.includes(index)) this.#indices.push(index);
    return ['counter', 'head'][this.#indices.indexOf(index)] ?? 'another';
  }

  close(): void {
    for (const server of this.#servers) server.close();
  }
}

describe('a warm start and its device', function () {
  this.timeout(120_000);

  describe('a TPM', () => {
    let tpm: Swtpm;
    let relay: TpmRelay;
    let world: World;
    const withTpm = (tcti: string, changes: object = {}): object => ({
      protector: { type: 'tpm', tcti },
      secretStore: undefined,
      ...changes,
    });
    before(async () => {
      tpm = await Swtpm.started();
      relay = await TpmRelay.before(tpm);
      world = new World();
      await (await world.open(withTpm(tpm.tcti, { recovery: { password, kdf: quickKdf } }))).close();
    });
    after(async () => {
      relay.close();
      await world.closeAll();
      await tpm.kill();
    });
    const started = async (changes: object): Promise<Record<string, number>> => {
      relay.commands.length = 0;
      const store = await world.open(withTpm(relay.tcti, changes));
      const commands = [...relay.commands];
      await store.close();
      assert.ok(commands.includes('Unseal'));
      return repeated(commands);
    };
    /** What each start sends more than once, and why. */
    const always = {
      // The connection's own, and that of the policy.
      StartAuthSession: 2,
      // The policy's session, and the object that was loaded.
      FlushContext: 2,
    };

    it('is read without a repeated command but those that have a reason', async () => {
      assert.deepEqual(await started({ readOnly: true }), always);
    });

    it('is anchored without a repeated command but those that have a reason', async () => {
      assert.deepEqual(await started({}), {
        ...always,
        // The evidence; before the anchor, since another copy may have gone on, whose anchor must not be spoilt; after the
        // increment.
        'NV_Read counter': 3,
        // The same, and after the extend.
        'NV_Read head': 4,
        // The age of the stamp, and the time of the anchor.
        ReadClock: 2,
      });
    });
  });

  describe('a token', () => {
    const spy = spies.find((path) => existsSync(path)) ?? '/missing: apt-get install opensc';
    let hsm: HsmWorld;
    let log: string;
    before(async () => {
      hsm = new HsmWorld();
      log = join(hsm.root, 'spy');
      await hsm.make();
      await hsm.makeStore();
      process.env['PKCS11SPY'] = softhsm;
      process.env['PKCS11SPY_OUTPUT'] = log;
    });
    after(async () => {
      delete process.env['PKCS11SPY'];
      delete process.env['PKCS11SPY_OUTPUT'];
      await hsm.closeAll();
    });
    let seen = 0;
    const started = async (readOnly: boolean): Promise<Record<string, number>> => {
      const store = await hsm.open({ protector: hsm.protector({ module: spy }), readOnly });
      const calls = [
        ...readFileSync(log, 'utf8')
          .slice(seen)
          .matchAll(/^\d+: (C_\w+)/gm),
      ].map(([, name]) => name);
      await store.close();
      seen = readFileSync(log).length;
      assert.ok(calls.includes('C_UnwrapKey'));
      return repeated(calls.filter((name) => name !== undefined));
    };

    /** What every start repeats, and why. */
    const always = {
      // PKCS #11 v2.40, 5.5: slots are looked for where their number is asked for, and listed then. Each is asked for its
      // token.
      C_GetSlotList: 2,
      C_GetTokenInfo: 2,
    };

    it('is read without a repeated call but those that have a reason', async () => {
      assert.deepEqual(await started(true), {
        ...always,
        // The key; then the witness, as a data object and as a key that carries it.
        C_FindObjectsInit: 3,
        C_FindObjects: 5,
        C_FindObjectsFinal: 3,
        // The unwrapped key, and both generations of the witness.
        C_GetAttributeValue: 3,
        // The key that makes the check value, and the unwrapped one.
        C_DestroyObject: 2,
      });
    });

    it('is moved without a repeated call but those that have a reason', async () => {
      assert.deepEqual(await started(false), {
        ...always,
        // As above; then the witness before it is replaced, its replacement, and what was there before both.
        C_FindObjectsInit: 11,
        C_FindObjects: 17,
        C_FindObjectsFinal: 11,
        C_GetAttributeValue: 11,
        // The key that makes the check value, and the new witness.
        C_CreateObject: 2,
        // The key that makes the check value, the unwrapped one, and the older witness.
        C_DestroyObject: 3,
      });
    });
  });
});
