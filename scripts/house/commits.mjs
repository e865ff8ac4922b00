// Subjects of commits
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';

const subjectMax = 72;
// An area is one or more short names of a part: `cli`, `test/native`, `docs, cli`.
const form = /^[\w./-]+(?:, [\w./-]+)*: (\S.*)$/;
// Git writes these subjects itself, around one of any length.
const reverts = /^(Revert|Reapply) ".+"$/;
// The first word is an imperative. Words that only look like another form, and `re` before one, as in `reseed`:
const imperatives =
  /^(re)?(bring|ring|string|spring|swing|sing|sling|fling|cling|wring|ping|need|heed|embed|feed|seed|weed|breed|bleed|speed|exceed|proceed|succeed|shed|shred|bias|focus|alias|canvas)$/i;

/** What is wrong with a subject; empty where nothing is. */
export function subjectProblems(subject) {
  if (reverts.test(subject)) return [];
  const problems = [];
  if ([...subject].length > subjectMax)
    problems.push(`has ${[...subject].length} columns; at most ${subjectMax}`);
  if (subject.endsWith('.')) problems.push('ends with a full stop');
  const said = form.exec(subject)?.[1];
  if (said === undefined || /^(fixup|squash|amend)!|^WIP\b/i.test(subject))
    return [...problems, "is not 'area: imperative'"];
  const [verb] = said.split(/[\s,:]/);
  const last = verb.split('-').at(-1);
  if (/(ing|ed|[^s]s)$/i.test(last) && !imperatives.test(last))
    problems.push(`begins with '${verb}', not an imperative`);
  return problems;
}

/** `env` without what points git elsewhere, as the environment of a hook does. */
export function withoutGit(env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('GIT_')));
}

/**
 * Reads the commits from `since` to HEAD. `{ skipped }` says why there are none to read, else `{ problems, count }`.
 */
export function checkCommits(root, since) {
  const env = withoutGit(process.env);
  const git = (...args) => spawnSync('git', ['-C', root, ...args], { encoding: 'utf8', env });
  const top = git('rev-parse', '--show-toplevel');
  // A tarball may be unpacked within the working tree of something else.
  if (top.status !== 0 || realpathSync(top.stdout.trim()) !== realpathSync(root))
    return { skipped: 'this is not a git working tree' };
  if (git('rev-parse', '--verify', '--quiet', `${since}^{commit}`).status !== 0)
    return { skipped: `the history has no commit ${since}` };
  const descends = git('merge-base', '--is-ancestor', since, 'HEAD');
  if (descends.status === 1) return { skipped: `HEAD does not descend from ${since}` };
  if (descends.status !== 0) return { problems: [`git merge-base: ${descends.stderr.trim()}`], count: 0 };
  // Signatures would be lines between the commits.
  const log = git('log', '--no-show-signature', '--format=%h%x09%P%x09%s', `${since}..HEAD`);
  if (log.status !== 0) return { problems: [`git log: ${log.stderr.trim()}`], count: 0 };
  const commits = log.stdout.split('\n').filter((line) => line !== '');
  const problems = [];
  for (const commit of commits) {
    const [hash, parents, subject] = commit.split(/\t(.*?)\t(.*)/s);
    if (parents.includes(' ')) problems.push(`${hash} is a merge commit: ${subject}`);
    else for (const problem of subjectProblems(subject)) problems.push(`${hash} ${problem}: ${subject}`);
  }
  return { problems, count: commits.length };
}
