// The formats of docs/format.md once more, over Node's own cryptography: reads what the core wrote, and writes what only
// somebody with the root key could, so that the checks behind the seals are reached as well.
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hkdf = (key: Uint8Array, salt: Uint8Array, label: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, label, 32));
const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer =>
  createHmac('sha256', key).update(Buffer.concat(parts)).digest();

function seal(key: Buffer, nonce: Buffer, associated: Buffer, plaintext: Uint8Array): [Buffer, Buffer] {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associated);
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return [sealed, cipher.getAuthTag()];
}

/** Throws when it does not authenticate. */
function unseal(key: Buffer, nonce: Buffer, associated: Buffer, sealed: Buffer, tag: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  decipher.setAAD(associated);
  decipher.setAuthTag(tag);
  return Buffer.concat([decipher.update(sealed), decipher.final()]);
}

const nonceOf = (counter: bigint): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(counter, 4);
  return nonce;
};

function varint(value: number): Buffer {
  const out: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return Buffer.from([...out, value]);
}

class Reader {
  at = 0;
  constructor(readonly bytes: Buffer) {}
  get done(): boolean {
    return this.at === this.bytes.length;
  }
  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new Error('past the end');
    return this.bytes.subarray(this.at, (this.at += length));
  }
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.take(1).readUInt8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }
}

/** The value of an item of the file SecretStore. */
export function secretValue(file: Buffer): Buffer {
  const instanceBytes = file.readUInt8(11);
  return Buffer.from(file.subarray(32 + instanceBytes, 32 + instanceBytes + file.readUInt32LE(12)));
}

/** The same item with another value. */
export function secretWith(file: Buffer, value: Uint8Array): Buffer {
  const head = Buffer.from(file.subarray(0, 32 + file.readUInt8(11)));
  head.writeUInt32LE(value.length, 12);
  const record = Buffer.concat([head, value]);
  return Buffer.concat([record, sha256(record), record, sha256(record)]);
}

/** What a later release would write: another version, and the checksum that fits it. */
export function secretOfVersion(file: Buffer, version: number): Buffer {
  const record = Buffer.from(file.subarray(0, file.length / 2 - 32));
  record.writeUInt16LE(version, 8);
  return Buffer.concat([record, sha256(record), record, sha256(record)]);
}

export function persistenceOfVersion(file: Buffer, version: number): Buffer {
  const body = Buffer.from(file.subarray(0, file.length / 2 - 32));
  body.writeUInt16LE(version, 8);
  return Buffer.concat([body, sha256(body), body, sha256(body)]);
}

interface Frame {
  readonly header: Buffer;
  readonly salt: Buffer | undefined;
  readonly chainBefore: Buffer;
  readonly directory: Buffer;
  readonly tag: Buffer;
  readonly values: Buffer;
}

export interface VaultContents {
  /** System records included; keys as latin1. */
  readonly records: Map<string, Buffer>;
  readonly generation: number;
  readonly head: Buffer;
  readonly epochs: Map<number, Buffer>;
  readonly end: number;
}

/** The key slot of a TPM, as native/protectors/tpm/tpm_slot.cc writes it. */
export interface TpmSlot {
  readonly tcti: string;
  readonly counterIndex: number;
  readonly atMost: bigint;
  readonly pcrs: number;
  readonly pin: boolean;
  /** TPM2B_PUBLIC and TPM2B_PRIVATE of the sealed root. */
  readonly publicArea: Buffer;
  readonly privateArea: Buffer;
  /** The DEK, given the root. */
  unwrap(root: Uint8Array): Buffer;
}

/** Anybody can read this much of a persistence.bin; the root is sealed. */
export function readTpmSlot(file: Buffer): TpmSlot {
  const copy = file.subarray(0, file.length / 2);
  const storageId = Buffer.from(copy.subarray(16, 32));
  const reader = new Reader(copy);
  reader.take(36);
  reader.take(reader.take(1).readUInt8());
  for (let slots = copy.readUInt8(11); slots > 0; --slots) {
    const fixed = reader.take(7);
    const parameters = reader.take(fixed.readUInt16LE(5));
    const [nonce, wrapped, tag] = [reader.take(12), reader.take(32), reader.take(16)];
    reader.take(8);
    const typeTpm = 2;
    if (fixed.readUInt8(4) !== typeTpm) continue;
    const inner = new Reader(parameters);
    const prefixed = (): Buffer => inner.take(inner.varint());
    inner.take(1);
    const tcti = prefixed().toString();
    inner.take(34 + 34);
    const [counterIndex, atMost] = [inner.take(4).readUInt32LE(), inner.take(8).readBigUInt64LE()];
    const pcrs = inner.take(4).readUInt32LE();
    for (let left = pcrs; left !== 0; left &= left - 1) inner.take(32);
    const pin = inner.take(1).readUInt8() === 1;
    if (pin) inner.take(28);
    const [publicArea, privateArea] = [prefixed(), prefixed()];
    return {
      tcti,
      counterIndex,
      atMost,
      pcrs,
      pin,
      publicArea,
      privateArea,
      unwrap(root) {
        const length = Buffer.alloc(4);
        length.writeUInt32LE(parameters.length);
        const associated = [storageId, fixed.subarray(0, 5), copy.subarray(32, 36), length, parameters];
        const kek = hkdf(root, storageId, 'strongroom/v5 tpm kek');
        return unseal(kek, nonce, Buffer.concat(associated), wrapped, tag);
      },
    };
  }
  throw new Error('no key slot of a TPM');
}

/** A store in the hands of somebody who has its root key. */
export class Forge {
  readonly storageId: Buffer;
  readonly dek: Buffer;
  readonly vaultSalt: Buffer;
  readonly vaultFileName: string;
  readonly #copy: Buffer;
  readonly #coreAt: number;
  readonly #core: Buffer;

  constructor(
    readonly directory: string,
    readonly secrets: string,
    readonly instance = 'test',
  ) {
    const file = readFileSync(join(directory, 'persistence.bin'));
    const copy = file.subarray(0, file.length / 2);
    this.#copy = copy;
    this.storageId = Buffer.from(copy.subarray(16, 32));
    const root = secretValue(readFileSync(join(secrets, `${instance}.RootKey`)));
    const kek = hkdf(root, this.storageId, 'strongroom/v5 software kek');
    const reader = new Reader(copy);
    reader.take(36);
    reader.take(reader.take(1).readUInt8());
    let dek: Buffer | undefined;
    for (let slots = copy.readUInt8(11); slots > 0; --slots) {
      const fixed = reader.take(7);
      const parameters = reader.take(fixed.readUInt16LE(5));
      const [nonce, wrapped, tag, check] = [
        reader.take(12),
        reader.take(32),
        reader.take(16),
        reader.take(8),
      ];
      if (!hmac(kek, Buffer.from('strongroom/v5 key check')).subarray(0, 8).equals(check)) continue;
      const length = Buffer.alloc(4);
      length.writeUInt32LE(parameters.length);
      const associated = [this.storageId, fixed.subarray(0, 5), copy.subarray(32, 36), length, parameters];
      dek = unseal(kek, nonce, Buffer.concat(associated), wrapped, tag);
    }
    if (dek === undefined) throw new Error('the root key fits no slot');
    this.dek = dek;
    const coreBytes = reader.take(2).readUInt16LE();
    this.#coreAt = reader.at;
    const [nonce, sealed, tag] = [reader.take(12), reader.take(coreBytes), reader.take(16)];
    this.#core = unseal(this.#key('core'), nonce, copy.subarray(0, this.#coreAt), sealed, tag);
    this.vaultSalt = Buffer.from(this.#core.subarray(50, 82));
    this.vaultFileName = this.#core.toString('latin1', 83, 83 + this.#core.readUInt8(82));
  }

  #key(purpose: string): Buffer {
    return hkdf(this.dek, this.storageId, `strongroom/v5 ${purpose}`);
  }

  /** `CreateGetVaultKey()`. */
  vaultKey(salt = this.vaultSalt): Buffer {
    return hkdf(this.dek, salt, 'strongroom/v5 vault');
  }

  /** Writes persistence.bin with another vault file name, and perhaps a length that is not its own, sealed as it must be. */
  renameVault(name: string, statedBytes = Buffer.byteLength(name)): void {
    const core = Buffer.concat([this.#core.subarray(0, 82), Buffer.from([statedBytes]), Buffer.from(name)]);
    const length = Buffer.alloc(2);
    length.writeUInt16LE(core.length);
    const associated = Buffer.concat([this.#copy.subarray(0, this.#coreAt - 2), length]);
    const nonce = randomBytes(12);
    const parts = [associated, nonce, ...seal(this.#key('core'), nonce, associated, core)];
    const content = Buffer.concat(parts);
    const body = Buffer.concat([content, Buffer.alloc(this.#copy.length - 32 - content.length)]);
    const whole = Buffer.concat([body, sha256(body)]);
    writeFileSync(join(this.directory, 'persistence.bin'), Buffer.concat([whole, whole]));
  }

  /** The stamp in the SecretStore's `TimeTamper`. */
  witnessedStamp(): { readonly wallMs: number } {
    const value = secretValue(readFileSync(join(this.secrets, `${this.instance}.TimeTamper`)));
    this.#checkMac(value);
    return { wallMs: Number(value.readBigInt64LE(16)) };
  }

  /** The checkpoint in the SecretStore's `VaultHash`. */
  witnessedPoint(): { readonly generation: number; readonly head: string } {
    const value = secretValue(readFileSync(join(this.secrets, `${this.instance}.VaultHash`)));
    this.#checkMac(value);
    return { generation: Number(value.readBigUInt64LE(8)), head: value.toString('hex', 16, 48) };
  }

  #checkMac(value: Buffer): void {
    const covered = value.subarray(0, -32);
    if (!hmac(this.#key('witness'), this.storageId, covered).equals(value.subarray(-32))) {
      throw new Error('the item does not authenticate');
    }
  }

  /** Changes the stamp in the SecretStore's `TimeTamper`, and authenticates it anew. */
  rewriteWitnessedStamp(change: (stamp: Buffer) => void): void {
    const path = join(this.secrets, `${this.instance}.TimeTamper`);
    const file = readFileSync(path);
    const covered = Buffer.from(secretValue(file).subarray(0, -32));
    change(covered.subarray(8));
    const mac = hmac(this.#key('witness'), this.storageId, covered);
    writeFileSync(path, secretWith(file, Buffer.concat([covered, mac])));
  }

  /** Reads and authenticates vault.bin to its end. Throws where it does not authenticate. */
  readVault(salt = this.vaultSalt): VaultContents {
    const file = readFileSync(join(this.directory, this.vaultFileName));
    const vaultKey = this.vaultKey(salt);
    const epochs = new Map<number, Buffer>();
    const records = new Map<string, Buffer>();
    let chain = sha256(Buffer.from('strongroom/v5 base'), file.subarray(0, 64));
    let generation = 0;
    let at = 64;
    let inBase = true;
    let first = true;
    while (at < file.length) {
      const header = file.subarray(at, at + 64);
      if (header.toString('latin1', 0, 4) !== 'SRFR') throw new Error(`no frame at ${at}`);
      if (!sha256(this.storageId, header.subarray(0, 56)).subarray(0, 8).equals(header.subarray(56))) {
        throw new Error(`the check of the frame at ${at}`);
      }
      const flags = header.readUInt16LE(6);
      const [directoryBytes, valueBytes] = [header.readUInt32LE(40), header.readUInt32LE(44)];
      let next = at + 64;
      const take = (length: number): Buffer => file.subarray(next, (next += length));
      const frameSalt = (flags & 1) === 0 ? undefined : take(32);
      const frame: Frame = {
        header,
        salt: frameSalt,
        chainBefore: chain,
        directory: take(directoryBytes),
        tag: take(16),
        values: take(valueBytes),
      };
      const epoch = header.readUInt32LE(32);
      if (frameSalt !== undefined) epochs.set(epoch, hkdf(vaultKey, frameSalt, 'strongroom/v5 epoch'));
      const key = epochs.get(epoch);
      if (key === undefined) throw new Error(`unknown epoch ${epoch}`);
      const plaintext = unseal(
        key,
        nonceOf(header.readBigUInt64LE(24)),
        this.#associated(frame),
        frame.directory,
        frame.tag,
      );
      chain = this.#link(frame);
      if (first) {
        const base = this.#readBase(plaintext, epochs, vaultKey);
        first = false;
        generation = base.generation;
        if ((flags & 2) !== 0) {
          inBase = false;
          chain = base.head;
        } else {
          this.#baseHead = base.head;
        }
      } else {
        if (!inBase) generation = Number(header.readBigUInt64LE(8));
        this.#apply(frame, plaintext, key, records);
        if (inBase && (flags & 2) !== 0) {
          inBase = false;
          chain = this.#baseHead;
        }
      }
      at = next + ((8 - (next % 8)) % 8);
    }
    return { records, generation, head: chain, epochs, end: at };
  }
  #baseHead: Buffer = Buffer.alloc(32);

  #associated({ chainBefore, header, salt }: Frame): Buffer {
    return Buffer.concat([this.storageId, chainBefore, header, salt ?? Buffer.alloc(0)]);
  }
  #link({ chainBefore, header, salt, tag }: Frame): Buffer {
    return sha256(chainBefore, header, salt ?? Buffer.alloc(0), tag);
  }

  #readBase(
    plaintext: Buffer,
    epochs: Map<number, Buffer>,
    vaultKey: Buffer,
  ): { generation: number; head: Buffer } {
    const reader = new Reader(plaintext);
    const generation = Number(reader.take(8).readBigUInt64LE());
    const head = Buffer.from(reader.take(32));
    reader.take(40);
    for (let count = reader.varint(); count > 0; --count) {
      const epoch = reader.take(4).readUInt32LE();
      epochs.set(epoch, hkdf(vaultKey, reader.take(32), 'strongroom/v5 epoch'));
    }
    return { generation, head };
  }

  #apply({ header, values }: Frame, plaintext: Buffer, key: Buffer, records: Map<string, Buffer>): void {
    const directory = new Reader(plaintext);
    const contents = new Reader(values);
    let counter = header.readBigUInt64LE(24);
    while (!directory.done) {
      const operation = directory.take(1).readUInt8();
      const name = directory.take(directory.varint());
      if (operation === 2) {
        records.delete(name.toString('latin1'));
        continue;
      }
      const length = directory.varint();
      const tag = directory.take(16);
      const associated = Buffer.concat([this.storageId, header.subarray(8, 16), name]);
      const value = unseal(key, nonceOf(++counter), associated, contents.take(length), tag);
      records.set(name.toString('latin1'), value);
    }
  }

  /** Appends a commit to a cleanly closed vault; an undefined value deletes. */
  appendCommit(changes: readonly (readonly [key: string, value: Buffer | undefined])[]): void {
    const path = join(this.directory, this.vaultFileName);
    const vault = this.readVault();
    const salt = randomBytes(32);
    const key = hkdf(this.vaultKey(), salt, 'strongroom/v5 epoch');
    const generation = Buffer.alloc(8);
    generation.writeBigUInt64LE(BigInt(vault.generation + 1));
    const directory: Buffer[] = [];
    const values: Buffer[] = [];
    let counter = 1n;
    for (const [name, value] of changes) {
      const bytes = Buffer.from(name, 'latin1');
      directory.push(Buffer.from([value === undefined ? 2 : 1]), varint(bytes.length), bytes);
      if (value === undefined) continue;
      const associated = Buffer.concat([this.storageId, generation, bytes]);
      const [sealed, tag] = seal(key, nonceOf(++counter), associated, value);
      directory.push(varint(value.length), tag);
      values.push(sealed);
    }
    const plaintext = Buffer.concat(directory);
    const body = Buffer.concat(values);
    const header = Buffer.alloc(64);
    header.write('SRFR', 'latin1');
    header.writeUInt16LE(1, 4);
    header.writeUInt16LE(1, 6);
    generation.copy(header, 8);
    header.writeBigInt64LE(1_800_000_000_000n, 16);
    header.writeBigUInt64LE(1n, 24);
    header.writeUInt32LE(Math.max(...vault.epochs.keys()) + 1, 32);
    header.writeUInt32LE(changes.length, 36);
    header.writeUInt32LE(plaintext.length, 40);
    header.writeUInt32LE(body.length, 44);
    sha256(this.storageId, header.subarray(0, 56)).copy(header, 56, 0, 8);
    const associated = Buffer.concat([this.storageId, vault.head, header, salt]);
    const frame = Buffer.concat([header, salt, ...seal(key, nonceOf(1n), associated, plaintext), body]);
    const padding = Buffer.alloc((8 - (frame.length % 8)) % 8);
    writeFileSync(path, Buffer.concat([readFileSync(path).subarray(0, vault.end), frame, padding]));
  }
}
