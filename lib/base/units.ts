// Numbers, sizes and durations for people: the one formatter of messages, reports and pages.

/** 1234567 as `1,234,567`. */
export function grouped(number: number): string {
  return number.toLocaleString('en-US');
}

export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const kibibytes = bytes / 1024;
  return kibibytes < 1024
    ? `${kibibytes.toFixed(1)} KiB`
    : `${grouped(Math.round(kibibytes / 102.4) / 10)} MiB`;
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

function partsOf(ms: number): string[] {
  const parts: string[] = [];
  let rest = ms;
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts;
}

/** How long something took or takes: the two largest units, such as `6 d 23 h`. */
export function durationText(ms: number): string {
  if (ms < 0) return `-${durationText(-ms)}`;
  const whole = ms < 1000 ? Math.round(ms) : Math.floor(ms / 1000) * 1000;
  return whole === 0 ? '0 ms' : partsOf(whole).slice(0, 2).join(' ');
}

/** A limit that someone has set: nothing of it is dropped. */
export function limitText(ms: number): string {
  return ms < 1 ? `${ms} ms` : partsOf(Math.floor(ms)).join(' ');
}

/** How long to wait: in whole seconds, and never too short. */
export function waitText(ms: number): string {
  return durationText(Math.ceil(ms / 1000) * 1000);
}
