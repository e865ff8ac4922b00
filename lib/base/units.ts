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

/** Milliseconds for people: the two largest units, such as `6 d 23 h`. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const parts: string[] = [];
  let rest = Math.floor(ms / 1000);
  for (const [unit, seconds] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(' ');
}
