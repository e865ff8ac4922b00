// Key protector `tpm`: a TPM 2.0 seals the root key; a counter in it is the witness.
import { reading } from '../native/errors.js';
import type {
  NativeInspection,
  NativeProtector,
  NativeStatus,
  NativeTpmProtector,
  NativeTpmStatus,
} from '../native-binding.js';
import { anchorsPerDayMax, pcrHighest } from '../native-border.js';
import { PersistenceError, type Reason } from '../errors.js';
import { invalidOption, readText } from '../options/readers.js';
import { printable } from '../base/printable.js';
import { readPassword, repeatable, type PasswordSource, type Secret } from '../options/secrets.js';
import { grouped } from '../base/units.js';
import { refusePinSource, takePin } from './pin.js';
import type {
  CommandRole,
  Flags,
  GivenProtector,
  KeyProtectorKind,
  PinQuestion,
  ProtectorPlace,
  StatusRow,
} from './protector.js';

/** A TPM 2.0 seals the root that opens the data encryption key, and a counter in it is the witness; see docs/tpm.md. */
export interface TpmProtectorOptions {
  readonly type: 'tpm';
  /**
   * How the TPM is reached, as of tcti(7): `device:/dev/tpmrm0`, `swtpm:path=/run/s`. Default at COLDSTART the library's
   * own order, later what persistence.bin names.
   */
  readonly tcti?: string;
  /**
   * Platform configuration registers, 0 to 23 of the SHA-256 bank, that must be as they were when the root was sealed.
   * Fixed at COLDSTART and by `reseal`; default none.
   */
  readonly pcrs?: readonly number[];
  /**
   * Needed at every start where one was given at COLDSTART. Read only when it is needed, as far as that can be told
   * before the protector is open. For `reseal` it is the PIN from then on; `none` takes it away.
   */
  readonly pin?: PasswordSource | 'none';
  /**
   * How many times a day the counter is moved besides open, close, `anchor()` and `witnessed` commits; 0 to 86,400, default
   * 27. Each wears the TPM.
   */
  readonly anchorsPerDay?: number;
}

/** Key protector `tpm`. */
export interface TpmStatus {
  /** Manufacturer and firmware, as the TPM gives them. */
  readonly description: string;
  /** How it is reached; empty: the library's own order. */
  readonly tcti: string;
  /** The NV index of the counter. */
  readonly counterIndex: number;
  /** The NV index that holds the head; undefined in a store of release 0.1 that was not opened for writing since. */
  readonly extendIndex: number | undefined;
  readonly counter: number;
  /**
   * What the first counter of the store began at, less one. 1 on a TPM in which no counter ever was; above that, there was
   * one before, of this store or of another program. Undefined where it is not known.
   */
  readonly counterBegan: number | undefined;
  /** The TPM gives out the root of the present persistence.bin up to this count, and to an older file no more. */
  readonly sealEpochEnd: number;
  readonly pcrs: readonly number[];
  readonly pin: boolean;
  readonly wear: TpmWear;
}

/** How far the TPM's memory is worn by this store. Chips last 100,000 to 500,000 writes. */
export interface TpmWear {
  /** Of the counter, in the store's whole life. */
  readonly increments: number;
  /** When the counter was made, milliseconds since 1970. */
  readonly sinceMs: number;
  /** Since then; in the first day, so far. */
  readonly perDay: number;
  /** Years until 100,000 and 500,000 writes at that pace. */
  readonly yearsTo100k: number;
  readonly yearsTo500k: number;
}

/** What the root is sealed under, as persistence.bin says. */
export interface SealedUnder {
  readonly tcti: string;
  readonly pcrs: readonly number[];
  readonly pin: boolean;
}

function readPcrs(value: unknown): number[] | undefined {
  if (value === undefined) return undefined;
  const given: unknown[] = Array.isArray(value) ? reading(() => [...(value as unknown[])]) : [-1];
  return given.map((pcr) => {
    if (typeof pcr === 'number' && Number.isInteger(pcr) && pcr >= 0 && pcr <= pcrHighest) return pcr;
    throw invalidOption(`protector.pcrs must be a list of numbers from 0 to ${pcrHighest}`);
  });
}

function readAnchors(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= anchorsPerDayMax)
    return value;
  throw invalidOption(`protector.anchorsPerDay must be a whole number from 0 to ${anchorsPerDayMax}`);
}

class GivenTpm implements GivenProtector<TpmProtectorOptions> {
  readonly kind = tpm;
  readonly token = undefined;
  readonly options: TpmProtectorOptions;
  readonly native: NativeTpmProtector;
  readonly #pin: Secret | undefined;
  readonly #takesPinAway: boolean;

  constructor(given: Flags) {
    this.options = given as unknown as TpmProtectorOptions;
    this.native = {
      type: 'tpm',
      tcti: given['tcti'] === undefined ? undefined : readText(given['tcti'], 'protector.tcti'),
      pcrs: readPcrs(given['pcrs']),
      anchorsPerDay: readAnchors(given['anchorsPerDay']),
    };
    this.#takesPinAway = given['pin'] === 'none';
    const pin = this.#takesPinAway ? undefined : readPassword(given['pin'], 'protector.pin');
    this.#pin = pin && repeatable(pin);
  }

  /** The PIN is read where the root has one, or is to get one. */
  async locate({ purpose, header, signal }: ProtectorPlace): Promise<NativeProtector> {
    if (this.#pin === undefined) {
      if (purpose === 'reseal' && !this.#takesPinAway && (await hasPin(header)))
        throw new PersistenceError(
          'pin-missing',
          "the TPM's root has a PIN: give the new one, or 'none' to take it away",
        );
      return this.native;
    }
    if (purpose === 'open' && !(await hasPin(header))) return this.native;
    return { ...this.native, pin: await takePin(this.#pin, signal) };
  }

  forget(): void {
    this.#pin?.forget();
  }

  explain(refusal: PersistenceError): PersistenceError {
    return this.#pin?.explain(refusal) ?? refusal;
  }
}

/** Unauthenticated; but a slot that says it needs none, and does, does not open. */
async function hasPin(header: ProtectorPlace['header']): Promise<boolean> {
  return (await header())?.tpm?.pin === true;
}

/** TCG Vendor ID Registry: those who make chips, or firmware TPMs inside processors. */
const chipMakers: ReadonlySet<string> = new Set(
  'AMD ATML BRCM CROS HISI IFX INTC NSG NSM NTC NTZ QCOM ROCC SMSC SMSN SNS STM TXN WEC'.split(' '),
);

function levelOf(status: NativeTpmStatus | undefined): 'tpm' | 'tpm-virtual' {
  const maker = /^\S*/.exec(status?.description ?? '')?.[0] ?? '';
  return chipMakers.has(maker) ? 'tpm' : 'tpm-virtual';
}

const dayMs = 86_400_000;
const yearDays = 365.25;

function wearOf({ increments, firstMs: sinceMs }: NativeTpmStatus, nowMs: number): TpmWear {
  // A store of a few minutes says nothing of its pace yet.
  const days = Math.max(1, (nowMs - sinceMs) / dayMs);
  const perDay = increments / days;
  const years = (writes: number): number => Math.max(0, writes - increments) / perDay / yearDays;
  return Object.freeze({
    increments,
    sinceMs,
    perDay,
    yearsTo100k: years(100_000),
    yearsTo500k: years(500_000),
  });
}

function toTpm(native: NativeTpmStatus, nowMs: number): TpmStatus {
  const { description, tcti, counterIndex, extendIndex, counter, firstNumber, sealEpochEnd, pcrs, pin } =
    native;
  return Object.freeze({
    description,
    tcti,
    counterIndex,
    extendIndex,
    counter,
    counterBegan: firstNumber === undefined ? undefined : firstNumber - 1,
    sealEpochEnd,
    pcrs: Object.freeze(pcrs),
    pin,
    wear: wearOf(native, nowMs),
  });
}

/** The key slot, before anything has authenticated it. */
function unreadTpmRows({ tcti, pcrs, pin }: SealedUnder): readonly StatusRow[] {
  return [
    ['tpm', placeText(tcti)],
    ['pcrs, pin', sealText(pcrs, pin)],
  ];
}

function tpmRows(tpm: TpmStatus): readonly StatusRow[] {
  const {
    description,
    tcti,
    counterIndex,
    extendIndex,
    counter,
    counterBegan,
    sealEpochEnd,
    pcrs,
    pin,
    wear,
  } = tpm;
  const index = (number: number): string => `0x${number.toString(16).padStart(8, '0')}`;
  const began = counterBegan === undefined ? '' : `, began at ${grouped(counterBegan)}`;
  return [
    ['tpm', `${printable(description)}, ${placeText(tcti)}`],
    [
      'tpm counter',
      `${grouped(counter)} at ${index(counterIndex)}${began}; the root is sealed up to ${grouped(sealEpochEnd)}`,
    ],
    [
      'tpm head',
      extendIndex === undefined
        ? 'none yet: the next start for writing makes an extend index'
        : `held by an extend index at ${index(extendIndex)}`,
    ],
    ['pcrs, pin', sealText(pcrs, pin)],
    ['tpm wear', wearText(wear)],
  ];
}

function placeText(tcti: string): string {
  return tcti === '' ? 'wherever tpm2-tss finds one' : printable(tcti);
}

function sealText(pcrs: readonly number[], pin: boolean): string {
  const registers = pcrs.length === 0 ? 'no PCRs' : `PCRs ${pcrs.join(', ')}`;
  return `${registers}; ${pin ? 'a PIN' : 'no PIN'}`;
}

function wearText({ increments, perDay, yearsTo100k, yearsTo500k }: TpmStatus['wear']): string {
  const years = (number: number): string => (number < 10 ? number.toFixed(1) : grouped(Math.round(number)));
  return (
    `${grouped(increments)} increments, ${grouped(Math.round(perDay * 10) / 10)} a day; ` +
    `at this pace 100,000 in ${years(yearsTo100k)} years, 500,000 in ${years(yearsTo500k)} years`
  );
}

/** `0,7`, or `none`. */
function pcrsOf(text: string): number[] {
  if (text === 'none') return [];
  const pcrs = text.split(',').map((part) => (/^\d{1,2}$/.test(part) ? Number(part) : -1));
  if (pcrs.every((pcr) => pcr >= 0 && pcr <= pcrHighest)) return pcrs;
  throw invalidOption(
    `--pcrs takes numbers from 0 to ${pcrHighest} with commas between them, or none, not ${JSON.stringify(text)}`,
  );
}

interface TpmFlags {
  readonly tcti?: string;
  readonly pcrs?: string;
  /** Set to false by --no-pin. */
  readonly pin?: boolean;
}

function protectorOf(flags: Flags): TpmProtectorOptions {
  const { tcti, pcrs } = flags as TpmFlags;
  return {
    type: 'tpm',
    ...(tcti !== undefined && { tcti }),
    ...(pcrs !== undefined && { pcrs: pcrsOf(pcrs) }),
  };
}

/** What is asked of a command that makes the root, or seals it again: the PIN is chosen. */
function choiceOf(flags: Flags, ask: PinQuestion['ask']): PinQuestion | undefined {
  if ((flags as TpmFlags).pin !== false) return { name: 'new PIN of the root key', ask, isNeeded: false };
  refusePinSource(flags, () => '--no-pin contradicts the other options');
  return undefined;
}

function pinOf(
  flags: Flags,
  role: CommandRole,
  header: NativeInspection | undefined,
): PinQuestion | undefined {
  const sealed = header?.tpm?.pin === true;
  switch (role) {
    case 'init':
      return choiceOf(flags, 'twice');
    case 'reseal':
      return choiceOf(flags, sealed ? 'twice' : 'no');
    case 'leftovers':
      refusePinSource(flags, () => "--leftovers with '--protector tpm' takes no PIN");
      return undefined;
    default:
      return sealed ? { name: 'PIN of the root key', ask: 'once', isNeeded: true } : undefined;
  }
}

export const tpm = {
  type: 'tpm',
  optionNames: ['type', 'tcti', 'pcrs', 'pin', 'anchorsPerDay'],
  holder: 'TPM',
  hasSecretStore: false,
  isInToken: false,
  permitSuffices: false,
  // The TPM gives the root of an older state, or of one without its counter, to no one.
  keepsKeyFrom: new Set<Reason>(['vault-rolled-back', 'witness-missing', 'witness-replaced']),
  insteadOfRecover: 'the root of this store is in a TPM; `strongroom reseal` seals it anew',
  insteadOfReseal: undefined,
  securityLevels: {
    tpm: 'tpm',
    'tpm-virtual': 'tpm-virtual (whoever restores the virtual machine restores its TPM too)',
  },
  read: (given: Flags): GivenProtector<TpmProtectorOptions> => new GivenTpm(given),
  status: (native: NativeStatus, nowMs: number) => ({
    securityLevel: levelOf(native.tpm),
    tpm: native.tpm && toTpm(native.tpm, nowMs),
  }),
  command: {
    options: {
      open: [
        {
          name: 'tcti',
          flags: '--tcti <conf>',
          description: 'reach the TPM by this TCTI instead of the one that persistence.bin names',
        },
      ],
      init: [
        {
          name: 'tcti',
          flags: '--tcti <conf>',
          description: "how the TPM is reached, such as device:/dev/tpmrm0 (default: tpm2-tss's own order)",
        },
        {
          name: 'pcrs',
          flags: '--pcrs <list>',
          description: 'bind the root to the values of these PCRs, such as 0,7',
        },
      ],
      reseal: [
        {
          name: 'pcrs',
          flags: '--pcrs <list>',
          description:
            'bind the root to these PCRs, such as 0,7, or none; without it the same ones as before',
        },
      ],
    },
    choosesPin: true,
    protectorOf,
    pinOf,
    statusRows: ({ tpm: status }: { readonly tpm?: TpmStatus | undefined }) =>
      status === undefined ? [] : tpmRows(status),
    headerRows: ({ tpm: header }: { readonly tpm?: SealedUnder | undefined }) =>
      header === undefined ? [] : unreadTpmRows(header),
  },
} as const satisfies KeyProtectorKind;
