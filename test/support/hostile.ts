// Things that are not what they look like, for tests of arguments.

/** A view whose memory was transferred away. */
export function detached(): Uint8Array {
  const bytes = new Uint8Array(16);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

interface Resizable extends ArrayBuffer {
  resize(bytes: number): void;
}
/** A buffer that may be resized to 64 bytes; not in TypeScript's library of ES2023. */
export function resizable(bytes: number): Resizable {
  return Reflect.construct(ArrayBuffer, [bytes, { maxByteLength: 64 }]) as Resizable;
}

/** Views that end behind a buffer which was shrunk under them. */
export function outOfBounds(offset = 8): Uint8Array {
  const buffer = resizable(32);
  const view = new Uint8Array(buffer, offset, 16);
  buffer.resize(4);
  return view;
}
export function outOfBoundsView(): DataView {
  const buffer = resizable(32);
  const view = new DataView(buffer, 8, 16);
  buffer.resize(4);
  return view;
}

export const growable = Reflect.construct(SharedArrayBuffer, [8, { maxByteLength: 16 }]) as SharedArrayBuffer;

/** Throws whatever is done to it. */
export const throwing: object = new Proxy(
  {},
  {
    get: () => {
      throw new Error('thrown by a proxy');
    },
    getPrototypeOf: () => {
      throw new Error('thrown by a proxy');
    },
    ownKeys: () => {
      throw new Error('thrown by a proxy');
    },
  },
);

/** What cannot be read as bytes, though most of it looks like bytes. */
export const hostileBytes: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['a number', 7],
  ['a symbol', Symbol('bytes')],
  ['an object', {}],
  ['an array', [1, 2, 3]],
  ['a Float64Array', new Float64Array(4)],
  ['a Uint8ClampedArray', new Uint8ClampedArray(4)],
  ['something with the prototype of a Uint8Array', Object.create(Uint8Array.prototype)],
  ['a Proxy of a Uint8Array', new Proxy(new Uint8Array(4), {})],
  ['a Proxy that throws', throwing],
  ['shared memory', new Uint8Array(new SharedArrayBuffer(4))],
  ['growable shared memory', new Uint8Array(growable)],
  ['a SharedArrayBuffer', growable],
  ['a detached Uint8Array', detached()],
  ['a detached ArrayBuffer', detached().buffer],
  ['a view behind the end of its buffer', outOfBounds()],
  ['a view from the beginning, behind the end of its buffer', outOfBounds(0)],
  ['a DataView behind the end of its buffer', outOfBoundsView()],
];
