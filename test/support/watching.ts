// Copies of secrets, so that a test can see whether they are wiped: those that the core is given, and whatever else is made
// in memory of its own.
import assert from 'node:assert/strict';

import type { NativeBinding, NativeStore } from '../../lib/native-binding.js';
import { binding } from './stores.js';

type Given = ConstructorParameters<typeof binding.Store>;

/** What of a secret reached the core: the bytes themselves, and what they were then. */
interface Seen {
  readonly bytes: Uint8Array;
  readonly text: string;
}

function pinOf(protector: object | undefined): unknown {
  return protector !== undefined && 'pin' in protector ? protector.pin : undefined;
}

/** A start takes the password of an operation with its plan, and everything else at `secrets`. */
function watchStart(store: NativeStore, note: (...given: unknown[]) => void): void {
  Object.defineProperty(store, 'start', {
    get(this: object): NativeStore['start'] {
      const own = Reflect.get(binding.Store.prototype, 'start', this) as NativeStore['start'];
      return {
        open: (plan, password, permit, progress) => {
          note(password);
          return own.open(plan, password, permit, progress);
        },
        proceed: (secrets, progress) => {
          note(secrets?.recoveryPassword, pinOf(secrets?.protector));
          return own.proceed(secrets, progress);
        },
      };
    },
  });
}

export class SecretWatch {
  /** The testing build of the core; what it is given of secrets is noted. */
  readonly binding: NativeBinding;
  readonly #allocate = Buffer.allocUnsafeSlow.bind(Buffer);
  readonly #array = globalThis.Uint8Array;
  #seen: Seen[] = [];
  #made: Uint8Array[] = [];

  constructor() {
    Buffer.allocUnsafeSlow = (size) => {
      // Zeroed: what was in the memory before is nobody's copy.
      const made = Buffer.alloc(size);
      this.#made.push(made);
      return made;
    };
    // A copy that is made here of bytes that someone gave; Buffers are made by a class of their own.
    globalThis.Uint8Array = new Proxy(this.#array, {
      construct: (target, given: unknown[], caller: () => unknown) => {
        const made = Reflect.construct(target, given, caller) as Uint8Array;
        this.#made.push(made);
        return made;
      },
    });
    const note = (...given: unknown[]): void => {
      for (const bytes of given) {
        if (bytes instanceof Uint8Array) this.#seen.push({ bytes, text: Buffer.from(bytes).toString() });
      }
    };
    class Store extends binding.Store {
      constructor(...given: Given) {
        note(pinOf(given[0].protector));
        super(...given);
      }
    }
    watchStart(Store.prototype, note);
    // Of each call the first arguments are the secrets.
    for (const [part, calls] of Object.entries({
      operations: { reanchor: 1, recover: 1, validateRestore: 1, rotateDek: 1, decommission: 1 },
      passwords: { change: 2, add: 2, remove: 1, verify: 1 },
      tls: { set: 1 },
    })) {
      const counts = new Map<string | symbol, number>(Object.entries(calls));
      Object.defineProperty(Store.prototype, part, {
        get(this: object) {
          const own = Reflect.get(binding.Store.prototype, part, this) as object;
          for (const name of counts.keys())
            assert.equal(typeof Reflect.get(own, name), 'function', String(name));
          return new Proxy(own, {
            get:
              (_, name) =>
              (...given: unknown[]): unknown => {
                note(...given.slice(0, counts.get(name) ?? 0));
                return (Reflect.get(own, name) as (...given: unknown[]) => unknown).apply(own, given);
              },
          });
        },
      });
    }
    this.binding = {
      ...binding,
      Store,
      readFile: async (...given) => {
        const content = await binding.readFile(...given);
        note(content);
        return content;
      },
      initialiseToken: (plan) => {
        note(plan.soPin, plan.pin);
        return binding.initialiseToken(plan);
      },
      temporaryCertificate: (...given) => {
        const made = binding.temporaryCertificate(...given);
        note(made.key);
        return made;
      },
    };
  }

  /** What the core was given, as text, since the last call of assertWiped(). */
  get given(): readonly string[] {
    return this.#seen.map(({ text }) => text);
  }

  /** These secrets reached the core since the last call, and nothing is left of them. */
  assertWiped(...texts: string[]): void {
    const seen = this.#seen;
    this.#seen = [];
    assert.deepEqual(new Set(seen.map(({ text }) => text)), new Set(texts));
    for (const { bytes, text } of seen) {
      assert.ok(
        bytes.every((byte) => byte === 0),
        `the core was given a copy of '${text.slice(0, 40)}' that is left`,
      );
    }
    this.assertGone(...texts);
  }

  /** No memory that was allocated since the last call holds one of these secrets. */
  assertGone(...texts: string[]): void {
    const made = this.#made;
    this.#made = [];
    for (const text of texts) {
      assert.ok(
        !made.some((copy) => Buffer.from(copy.buffer).includes(text)),
        `a copy of '${text.slice(0, 40)}' is left`,
      );
    }
  }

  stop(): void {
    Buffer.allocUnsafeSlow = this.#allocate;
    globalThis.Uint8Array = this.#array;
  }
}
