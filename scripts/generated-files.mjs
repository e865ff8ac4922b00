// Writes the files that a generator makes, or with --check compares them
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('..', import.meta.url);

/**
 * With --check it writes nothing, and makes the process fail when a file is not up to date.
 * @param generator - import.meta.url of the script that made the texts
 * @param texts - path below the root of the repository -> content
 */
export function writeGenerated(generator, texts) {
  for (const [path, text] of Object.entries(texts)) {
    const url = new URL(path, root);
    if (contentOf(url) === text) continue;
    if (process.argv.includes('--check')) {
      console.error(`${path} is not what ${fileURLToPath(generator)} makes; run npm run generate`);
      process.exitCode = 1;
    } else writeFileSync(url, text);
  }
}

function contentOf(url) {
  try {
    return readFileSync(url, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}
