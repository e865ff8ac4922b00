/** Every engine, in the order of the tables' columns. To add one: write the adapter and list it here. */
import classicLevel from './classic-level.mjs';
import limit from './limit.mjs';
import lmdb from './lmdb.mjs';
import multipleCiphers from './multiple-ciphers.mjs';
import strongroom from './strongroom.mjs';

/** @type {import('../types.d.ts').Engine[]} */
export const engines = [limit, strongroom, ...multipleCiphers, lmdb, classicLevel];

/** @param {string} name */
export function engineNamed(name) {
  const engine = engines.find((candidate) => candidate.name === name);
  if (engine === undefined) {
    throw new Error(`no engine "${name}"; there are ${engines.map((known) => known.name).join(', ')}`);
  }
  return engine;
}
