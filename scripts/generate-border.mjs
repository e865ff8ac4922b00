#!/usr/bin/env node
// Makes the limits, the conversions and the TypeScript types of the border from native/border.mjs
// With --check it writes nothing and fails when a generated file is not up to date.
import { enums, layout, limits, lists, options, results } from '../native/border.mjs';
import { writeGenerated } from './generated-files.mjs';

const note = 'Generated from native/border.mjs by scripts/generate-border.mjs; do not edit.';

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const capital = (name) => name[0].toUpperCase() + name.slice(1);
const constant = (name) => `k${capital(name)}`;
const quote = (text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const grouped = (number, separator) => String(number).replace(/\B(?=(\d{3})+$)/g, separator);
const sum = (lines) => lines.flat().join('\n');
const specOf = (field) => (typeof field === 'string' ? { type: field } : field);
const fieldsOf = (fields) => Object.entries(fields).map(([name, field]) => ({ name, ...specOf(field) }));
const namesOf = ({ names }) => [...new Set(Object.values(names))];
const unionOf = (type) => namesOf(enums[type]).map(quote).join(' | ');
const tableOf = (type) => `k${type}Names`;

function refuse(text) {
  throw new Error(`native/border.mjs: ${text}`);
}

// --- The schema itself ---

const resultKeys = ['absent', 'doc', 'from', 'only', 'optional', 'ts', 'type'];
const optionKeys = ['doc', 'required', 'testing', 'to', 'ts', 'type'];
/** What a type of option needs besides. */
const optionParameters = {
  bits: ['max'],
  milliseconds: ['max'],
  secret: ['what'],
  whole: ['max'],
  wholeOrInfinity: ['infinity', 'max'],
};

function checkKeys(where, given, known, needed = []) {
  for (const key of Object.keys(given)) if (!known.includes(key)) refuse(`${where}: no '${key}' is known`);
  for (const key of needed) if (!(key in given)) refuse(`${where}: '${key}' is missing`);
}

function checkFields(where, fields, keys, parametersOf = () => []) {
  for (const { name, ...spec } of fieldsOf(fields)) {
    const parameters = parametersOf(spec.type);
    checkKeys(`${where}.${name}`, spec, [...keys, ...parameters], ['type', ...parameters]);
  }
}

function checkVariant(where, { type }, enumerators) {
  if (!(type in enums)) refuse(`${where}: no enumeration ${type}`);
  for (const enumerator of Object.keys(enums[type].names))
    if (!enumerators.includes(enumerator)) refuse(`${where}: nothing for ${enumerator}`);
  checkKeys(
    where,
    Object.fromEntries(enumerators.map((each) => [each, true])),
    Object.keys(enums[type].names),
  );
}

function checkSchema() {
  for (const [name, limit] of Object.entries(limits))
    checkKeys(name, limit, ['doc', 'lib', 'value'], ['value']);
  for (const [name, list] of Object.entries(lists)) checkKeys(name, list, ['doc', 'names'], ['names']);
  for (const [name, type] of Object.entries(enums)) checkKeys(name, type, ['cpp', 'names'], ['cpp', 'names']);
  for (const [name, result] of Object.entries(results)) {
    checkKeys(name, result, ['cpp', 'doc', 'extends', 'fields', 'variant'], ['cpp']);
    checkFields(name, result.fields ?? {}, resultKeys);
    if (!result.variant) continue;
    checkKeys(name, result.variant, ['fields', 'tag', 'type'], ['fields', 'tag', 'type']);
    checkVariant(name, result.variant, Object.keys(result.variant.fields));
    for (const own of Object.values(result.variant.fields)) checkFields(name, own, resultKeys);
  }
  const parametersOf = (type) => optionParameters[type] ?? [];
  for (const [name, option] of Object.entries(options)) {
    checkKeys(name, option, ['cpp', 'doc', 'fields', 'isResult', 'path', 'variant'], ['cpp']);
    checkFields(name, option.fields ?? {}, optionKeys, parametersOf);
    if (!option.variant) continue;
    checkKeys(
      name,
      option.variant,
      ['alternatives', 'tag', 'to', 'type'],
      ['alternatives', 'tag', 'to', 'type'],
    );
    checkVariant(name, option.variant, Object.keys(option.variant.alternatives));
    for (const alternative of Object.values(option.variant.alternatives)) {
      const needed = option.isResult ? ['fields'] : ['fields', 'name'];
      checkKeys(name, alternative, ['doc', 'fields', 'member', 'name'], needed);
      checkFields(name, alternative.fields, optionKeys, parametersOf);
    }
  }
}

checkSchema();

// --- The C++ limits ---

const limitsHeader = `// Every limit of the product in one place, units last in a name
// ${note}
#pragma once

#include <cstddef>
#include <cstdint>

// clang-format off
namespace strongroom::limits {

${sum(
  Object.entries(limits).map(([name, { value, doc }]) => [
    ...(doc === undefined ? [] : [`// ${capital(doc)}.`]),
    `inline constexpr std::size_t ${constant(name)} = ${grouped(value, "'")};`,
  ]),
)}

}  // namespace strongroom::limits
`;

// --- C++: results ---

/** The C++ member of a field, as an expression. */
function memberOf({ name, type, from }, owner = 'value') {
  if (from?.includes('$')) return from.replaceAll('$', owner);
  const usual = type === 'time' ? snake(name).replace(/_ms$/, '_wall_ms') : snake(name);
  return `${owner}.${from ?? usual}`;
}

const converters = {
  text: (value) => `text_value(env, ${value})`,
  count: (value) => `count_value(env, ${value})`,
  time: (value) => `time_value(env, ${value})`,
  flag: (value) => `flag_value(env, ${value})`,
  hex: (value) => `to_hex_value(env, ${value})`,
  bytes: (value) => `to_buffer(env, ${value})`,
  bits: (value) => `bits_value(env, ${value})`,
};

function convertedList(type, value) {
  if (type in results) return `describe(env, ${value})`;
  if (!(type in enums)) return refuse(`no list of ${type}`);
  return `list_value(env, ${value}, [env](const auto each) { return text_value(env, name_of(each, ${tableOf(type)})); })`;
}

function converted(type, value) {
  if (type.endsWith('[]')) return convertedList(type.slice(0, -2), value);
  if (type in converters) return converters[type](value);
  if (type in enums) return `text_value(env, name_of(${value}, ${tableOf(type)}))`;
  if (type in results) return `describe(env, ${value})`;
  return refuse(`no type ${type}`);
}

/** The fields of a result with those that it inherits, each with its C++ expression. */
function flattened({ fields, extends: parents = {} }, owner = 'value') {
  const inherited = Object.entries(parents).flatMap(([parent, member]) =>
    flattened(results[parent], `${owner}.${member}`),
  );
  return [...inherited, ...fieldsOf(fields).map((field) => ({ ...field, member: memberOf(field, owner) }))];
}

function resultMember({ type, member, absent, optional, only }) {
  if (optional && type in results) return `describe(env, ${member})`;
  if (optional) return `${member} ? ${converted(type, `*${member}`)} : undefined(env)`;
  if (absent) return `${absent.replaceAll('$', member)} ? undefined(env) : ${converted(type, member)}`;
  if (only === undefined) return converted(type, member);
  return `${only.replaceAll('$', 'value')} ? ${converted(type, member)} : undefined(env)`;
}

const signatureOf = (cpp) => `napi_value describe(napi_env env, const ${cpp}& value)`;

function describeVariant({ cpp, variant: { tag, type, fields } }) {
  const of = `value.${snake(tag)}`;
  return [
    `${signatureOf(cpp)} {`,
    '  Object object(env);',
    `  object.set("${tag}", ${converted(type, of)});`,
    ...Object.entries(fields).flatMap(([enumerator, own]) =>
      fieldsOf(own).map(
        (field) =>
          `  if (is_one_of(${of}, {${enums[type].cpp}::${enumerator}})) object.set("${field.name}", ${converted(field.type, memberOf(field))});`,
      ),
    ),
    '  return object.value();',
    '}\n',
  ];
}

function describeResult(result) {
  if (result.variant) return describeVariant(result);
  return [
    `${signatureOf(result.cpp)} {`,
    '  return Object(env)',
    ...flattened(result).map((field) => `      .set("${field.name}", ${resultMember(field)})`),
    '      .value();',
    '}\n',
  ];
}

/** A compiler warns of an enumerator that the schema does not name. */
const enumCheck = ([, { cpp, names }]) => [
  `[[maybe_unused]] constexpr void has_all_names(${cpp} value) {`,
  '  switch (value) {',
  ...Object.keys(names).map((enumerator) => `    case ${cpp}::${enumerator}:`),
  '      return;',
  '  }',
  '}',
];

const enumTable = ([type, { cpp, names }]) => [
  `inline constexpr NameTable<${cpp}, ${Object.keys(names).length}> ${tableOf(type)}{{`,
  ...Object.entries(names).map(([enumerator, name]) => `    {${cpp}::${enumerator}, "${name}"},`),
  '}};',
];

// --- C++: options ---

const readers = {
  text: () => ['text', ''],
  flag: () => ['flag', ''],
  bits: ({ max }) => ['bits', `${max}, `],
  whole: ({ max }) => ['whole', `${max}.0, `],
  milliseconds: ({ max }) => ['milliseconds', `${max}.0, `],
  wholeOrInfinity: ({ max, infinity }) => ['whole_or_infinity', `${max}.0, ${infinity}, `],
  secret: ({ what }) => ['secret', `"${what}", `],
  octets: () => ['octets', ''],
  byteCall: () => ['byte_call', ''],
};

const whereTesting = (line) => ['#ifdef STRONGROOM_TESTING', line, '#endif'];

function optionMember(field, at) {
  const { name, type, to, testing } = field;
  if (type === 'clock')
    return whereTesting(`  SR_TRY(testing::read_clock(given, "${name}", &out->${at}${to ?? snake(name)}));`);
  if (type in enums)
    return [`  SR_TRY(given.name("${name}", ${tableOf(type)}, &out->${at}${to ?? snake(name)}));`];
  if (!(type in options) && !(type in readers)) refuse(`${name}: no type ${type}`);
  const [reader, extra] = type in options ? ['record', `"${options[type].path}", `] : readers[type](field);
  const line = `  SR_TRY(given.${reader}("${name}", ${extra}&out->${at}${to ?? snake(name)}));`;
  return testing ? whereTesting(line) : [line];
}

const listed = (names) => `{${names.map((name) => `"${name}"`).join(', ')}}`;

function readFields(signature, fields, { at = '', tag } = {}) {
  const all = fieldsOf(fields);
  const tags = tag === undefined ? [] : [tag];
  const usual = [...tags, ...all.filter(({ testing }) => !testing).map(({ name }) => name)];
  const testing = all.filter((field) => field.testing).map(({ name }) => name);
  const needed = all.filter(({ required }) => required).map(({ name }) => name);
  const isUsed = all.length > 0;
  return [
    `${signature} {`,
    ...(testing.length === 0
      ? [`  SR_TRY(given.closed(${listed(usual)}, ${listed(needed)}));`]
      : [
          '#ifdef STRONGROOM_TESTING',
          `  SR_TRY(given.closed(${listed([...usual, ...testing])}, ${listed(needed)}));`,
          '#else',
          `  SR_TRY(given.closed(${listed(usual)}, ${listed(needed)}));`,
          '#endif',
        ]),
    ...all.flatMap((field) => optionMember(field, at)),
    ...(isUsed ? [] : ['  (void)out;']),
    '  return {};',
    '}\n',
  ];
}

const readSignature = (cpp) => `Status read(const Record& given, ${cpp}* out)`;

function readVariant(name, { cpp, variant: { tag, type, to, alternatives } }) {
  const enumeration = enums[type].cpp;
  const alternativeName = (enumerator) => `read_${snake(name).slice(1)}${snake(enumerator.slice(1))}`;
  return [
    'namespace {\n',
    ...Object.entries(alternatives).flatMap(([enumerator, { member, fields }]) =>
      readFields(`Status ${alternativeName(enumerator)}(const Record& given, ${cpp}* out)`, fields, {
        tag,
        at: member === undefined ? '' : `${member}.`,
      }),
    ),
    '}  // namespace\n',
    `${readSignature(cpp)} {`,
    `  static constexpr Table<${enumeration}, Status (*)(const Record&, ${cpp}*), ${Object.keys(alternatives).length}> kReaders{{`,
    ...Object.keys(alternatives).map(
      (enumerator) => `      {${enumeration}::${enumerator}, ${alternativeName(enumerator)}},`,
    ),
    '  }};',
    `  ${enumeration} ${snake(tag)}{};`,
    `  SR_TRY(given.name("${tag}", ${tableOf(type)}, &${snake(tag)}));`,
    `  out->${to} = ${snake(tag)};`,
    `  return (*find_in(kReaders, ${snake(tag)}))(given, out);`,
    '}\n',
  ];
}

const readOptions = ([name, { cpp, fields, variant }]) =>
  variant ? readVariant(name, { cpp, variant }) : readFields(readSignature(cpp), fields);

// --- C++: the two files ---

function layoutType(value) {
  if (value < 0) return 'std::int32_t';
  return value <= 0xff ? 'std::uint8_t' : 'std::uint32_t';
}

const header = `// Conversions of what crosses the border, and its constants
// ${note}
#pragma once

#include "addon/border_types.h"
#include "addon/record.h"
#include "addon/value.h"

// clang-format off
namespace strongroom::addon {

namespace layout {
${sum(
  Object.entries(layout).map(
    ([name, value]) => `inline constexpr ${layoutType(value)} ${constant(name)} = ${grouped(value, "'")};`,
  ),
)}
}  // namespace layout

${sum(
  Object.entries(lists).map(([name, { names, doc }]) => [
    `// ${doc}`,
    `inline constexpr std::array<std::string_view, ${names.length}> ${constant(name)}{${names.map((n) => `"${n}"`).join(', ')}};`,
  ]),
)}

${sum(Object.entries(enums).map(enumTable))}

// --- Results ---
${sum(Object.values(results).map(({ cpp }) => `[[nodiscard]] ${signatureOf(cpp)};`))}

template <typename T>
[[nodiscard]] napi_value describe(napi_env env, const std::optional<T>& value) {
  return value ? describe(env, *value) : undefined(env);
}
template <typename T>
[[nodiscard]] napi_value describe(napi_env env, const std::vector<T>& values) {
  return list_value(env, values, [env](const T& value) { return describe(env, value); });
}

// --- Options: kInvalidOption names what is unknown, missing, of the wrong type or out of range ---
${sum(Object.values(options).map(({ cpp }) => `[[nodiscard]] ${readSignature(cpp)};`))}

}  // namespace strongroom::addon
`;

const source = `// ${note}
#include "addon/border.h"

#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

// clang-format off
namespace strongroom::addon {

// --- Enumerations: a switch without default fails to compile where an enumerator has no name ---

namespace {

${sum(Object.entries(enums).map(enumCheck))}

}  // namespace

// --- Results ---

${sum(Object.values(results).map(describeResult))}
// --- Options ---

${sum(Object.entries(options).map(readOptions))}
}  // namespace strongroom::addon
`;

// --- TypeScript ---

const tsTypes = {
  text: 'string',
  count: 'number',
  time: 'number',
  flag: 'boolean',
  hex: 'string',
  bytes: 'Buffer',
  bits: 'readonly number[]',
  whole: 'number',
  wholeOrInfinity: 'number',
  milliseconds: 'number',
  secret: 'Uint8Array',
  octets: 'Uint8Array',
  byteCall: 'NativeByteCall',
  clock: 'object',
};

function tsType({ type, ts }) {
  if (ts !== undefined) return ts;
  if (type.endsWith('[]')) {
    const each = type.slice(0, -2);
    return `readonly ${each in enums ? `(${unionOf(each)})` : tsType({ type: each })}[]`;
  }
  if (type in enums) return unionOf(type);
  return tsTypes[type] ?? `Native${type}`;
}

const tsDoc = (doc, indent = '') => (doc === undefined ? [] : [`${indent}/** ${doc} */`]);

function tsFields(fields, declare) {
  return fieldsOf(fields).flatMap((field) => [
    ...tsDoc(field.doc, '  '),
    `  readonly ${declare(field, tsType(field))};`,
  ]);
}

const resultField = ({ name, absent, optional, only }, type) =>
  `${name}: ${type}${absent || optional || only ? ' | undefined' : ''}`;
const optionField = ({ name, required }, type) =>
  required ? `${name}: ${type}` : `${name}?: ${type} | undefined`;

function tsInterface(name, fields, declare, { doc, parents = [], tag } = {}) {
  const inherits =
    parents.length === 0 ? '' : ` extends ${parents.map((parent) => `Native${parent}`).join(', ')}`;
  return [
    ...tsDoc(doc),
    `export interface Native${name}${inherits} {`,
    ...(tag === undefined ? [] : [`  readonly ${tag.name}: ${quote(tag.value)};`]),
    ...tsFields(fields, declare),
    '}\n',
  ];
}

function tsResult([name, { doc, fields, extends: parents = {}, variant }]) {
  if (!variant) return tsInterface(name, fields, resultField, { doc, parents: Object.keys(parents) });
  const alternatives = Object.entries(variant.fields).map(([enumerator, own]) => {
    const members = fieldsOf(own).map((field) => `readonly ${field.name}: ${tsType(field)}`);
    return `{ ${[`readonly ${variant.tag}: ${quote(enums[variant.type].names[enumerator])}`, ...members].join('; ')} }`;
  });
  return [
    ...tsDoc(doc),
    `export type Native${name} =\n${alternatives.map((text) => `  | ${text}`).join('\n')};\n`,
  ];
}

function tsOptions([name, { doc, isResult, fields, variant }]) {
  if (isResult) return [];
  if (!variant) return tsInterface(name, fields, optionField, { doc });
  const alternatives = Object.entries(variant.alternatives);
  return [
    ...alternatives.flatMap(([enumerator, alternative]) =>
      tsInterface(alternative.name, alternative.fields, optionField, {
        doc: alternative.doc,
        tag: { name: variant.tag, value: enums[variant.type].names[enumerator] },
      }),
    ),
    ...tsDoc(doc),
    `export type Native${name} = ${alternatives.map(([, alternative]) => `Native${alternative.name}`).join(' | ')};\n`,
  ];
}

const typescript = `// Types and constants of what crosses the border to the core
// ${note}
import type { Reason } from './error-table.js';

// --- Limits ---

${sum(
  Object.entries(limits)
    .filter(([, { lib }]) => lib)
    .map(([name, { value, doc }]) => [
      ...tsDoc(doc && `${capital(doc)}.`),
      `export const ${name} = ${grouped(value, '_')};`,
    ]),
)}

// --- Layouts and answers of the hot path: native/border.mjs has their meaning ---

${sum(Object.entries(layout).map(([name, value]) => `export const ${name} = ${grouped(value, '_')};`))}

${sum(
  Object.entries(lists).map(([name, { names, doc }]) => [
    ...tsDoc(doc),
    `export const ${name} = [${names.map(quote).join(', ')}] as const;\n`,
  ]),
)}
// --- Results ---

${sum(Object.entries(results).map(tsResult))}
// --- Options ---

/** A function that the core asks for bytes. It calls \`settle\` once, whenever it has an answer, and never throws. */
export type NativeByteCall = (
  input: Uint8Array,
  context: Uint8Array,
  settle: (bytes: Uint8Array | undefined, reason?: Reason, detail?: string) => void,
) => void;

${sum(Object.entries(options).map(tsOptions))}`;

writeGenerated(import.meta.url, {
  'native/base/limits.h': limitsHeader,
  'native/addon/border.h': header,
  'native/addon/border.cc': source,
  'lib/native-border.ts': typescript,
});
