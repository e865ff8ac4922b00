#!/usr/bin/env node
// Makes the C++ table, the TypeScript table and docs/errors.md from native/base/errors.json.
// With --check it writes nothing and fails when a generated file is not up to date.
import { readFileSync } from 'node:fs';
import { writeGenerated } from './generated-files.mjs';

const root = new URL('..', import.meta.url);
const table = JSON.parse(readFileSync(new URL('native/base/errors.json', root), 'utf8'));
const note = 'Generated from native/base/errors.json by scripts/generate-errors.mjs; do not edit.';

const reasons = table.reasons;
if (new Set(reasons.map((r) => r.reason)).size !== reasons.length) throw new Error('a reason stands twice');
for (const r of reasons) {
  if (!(r.code in table.codes)) throw new Error(`${r.reason}: unknown code ${r.code}`);
  if (!r.state) throw new Error(`${r.reason}: how its test makes the state is not said`);
}

const enumName = (reason) =>
  'k' +
  reason
    .split('-')
    .map((w) => w[0].toUpperCase() + w.slice(1))
    .join('');

const cpp = `// ${note}
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace strongroom {

enum class Reason : std::uint8_t {
${reasons.map((r) => `  ${enumName(r.reason)},`).join('\n')}
};

struct ErrorInfo {
  std::string_view reason;
  std::string_view code;
  bool retryable;
};

inline constexpr std::array<ErrorInfo, ${reasons.length}> kErrorTable = {{
${reasons.map((r) => `    {"${r.reason}", "${r.code}", ${r.retryable}},`).join('\n')}
}};

[[nodiscard]] constexpr const ErrorInfo& error_info(Reason reason) {
  return kErrorTable[static_cast<std::size_t>(reason)];
}

}  // namespace strongroom
`;

const quote = (s) => `'${s.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const ts = `// ${note}
/* eslint-disable */
// prettier-ignore
export const errorTable = {
${reasons
  .map(
    (r) =>
      `  ${quote(r.reason)}: { code: ${quote(r.code)}, retryable: ${r.retryable}, remedy: ${quote(r.remedy)} },`,
  )
  .join('\n')}
} as const;

/** The stable, machine-readable cause of an error. */
export type Reason = keyof typeof errorTable;

/** The class of an error; PERS_8003 is the critical one. */
export type ErrorCode = (typeof errorTable)[Reason]['code'];
`;

const md = `<!-- ${note} -->
# Errors

Every error is a \`PersistenceError\` with \`code\`, \`reason\`, \`retryable\` and \`remedy\`. Match on \`code\` and \`reason\`; the message is for people.
\`cause\` holds the underlying error where there is one. \`committed: true\` says that the operation is durable although it failed.

| code | meaning |
|---|---|
${Object.entries(table.codes)
  .map(([c, m]) => `| \`${c}\` | ${m} |`)
  .join('\n')}

${Object.keys(table.codes)
  .map(
    (code) => `## ${code}

| reason | retryable | cause | remedy |
|---|---|---|---|
${reasons
  .filter((r) => r.code === code)
  .map((r) => `| \`${r.reason}\` | ${r.retryable ? 'yes' : 'no'} | ${r.cause} | ${r.remedy} |`)
  .join('\n')}`,
  )
  .join('\n\n')}

## How each state is tested

\`test/acceptance/remedies.test.ts\` makes each state with real parts, does what the remedy says, and expects another verdict.

| reason | state |
|---|---|
${reasons.map((r) => `| \`${r.reason}\` | ${r.state} |`).join('\n')}
`;

writeGenerated(import.meta.url, {
  'native/base/error_table.h': cpp,
  'lib/error-table.ts': ts,
  'docs/errors.md': md,
});
