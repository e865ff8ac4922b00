/** Every work, in the order of the tables. To add one: describe it in a file here and list it. */
import own from './own.mjs';
import put from './put.mjs';
import putMany from './put-many.mjs';
import read from './read.mjs';

/** @type {import('../types.d.ts').Work[]} */
export const works = [...put, ...putMany, ...read, ...own];

/** @param {string} name */
export function workNamed(name) {
  const work = works.find((candidate) => candidate.name === name);
  if (work === undefined) {
    throw new Error(`no work "${name}"; there are ${works.map((known) => known.name).join(', ')}`);
  }
  return work;
}

/**
 * The named works and those that they need, in the order of the tables.
 *
 * @param {string[]} names empty: all
 */
export function selectWorks(names) {
  if (names.length === 0) return works;
  /** @type {Set<string>} */
  const wanted = new Set();
  const add = (/** @type {string} */ name) => {
    if (wanted.has(name)) return;
    wanted.add(name);
    for (const needed of workNamed(name).needs ?? []) add(needed);
  };
  names.forEach(add);
  return works.filter((work) => wanted.has(work.name));
}

/**
 * The sizes that a work is measured at.
 *
 * @param {import('../types.d.ts').Work} work
 * @param {number[]} sizes ascending
 */
export function sizesOf(work, sizes) {
  if (work.sizes === 'first') return sizes.slice(0, 1);
  if (work.sizes === 'last') return sizes.slice(-1);
  return sizes;
}
