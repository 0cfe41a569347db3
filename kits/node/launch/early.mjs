/**
 * Finds out whether this process runs an agent, before the first line of its program. The program's own files lead to an import
 * of the framework then.
 * Because: a CommonJS module of settings is loaded before the framework, and would keep curfew's address and keys.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const IMPORTS = /(?:\bfrom|\bimport|\brequire)\s*\(?\s*['"]([^'"\n]+)['"]/g;
const FRAMEWORK = '@livekit/agents';
const ENDINGS = ['', '.js', '.cjs', '.mjs', '.ts', '.cts', '.mts', '/index.js', '/index.ts'];
const MOST_FILES = 100;
const MOST_BYTES = 500_000;

/** The source of the framework's module with the registration. `null`: the program leads to no framework. */
export function frameworkOf(program) {
  if (program === undefined) return null;
  const main = fileAt(program);
  if (main === null || main.includes('/node_modules/') || !leadsToFramework(main)) return null;
  const entry = createRequire(main).resolve(FRAMEWORK);
  const worker = ['worker.cjs', 'worker.js'].map((name) => read(join(dirname(entry), name)));
  return worker.find((source) => source !== '') ?? null;
}

function leadsToFramework(main) {
  const waiting = [main];
  const seen = new Set();
  while (waiting.length > 0 && seen.size < MOST_FILES) {
    const path = waiting.shift();
    if (seen.has(path)) continue;
    seen.add(path);
    for (const [, name] of read(path).matchAll(IMPORTS)) {
      if (name === FRAMEWORK) return true;
      const next = name.startsWith('.') ? fileAt(join(dirname(path), name)) : null;
      if (next !== null) waiting.push(next);
    }
  }
  return false;
}

/** TypeScript names the compiled file of an import. */
function fileAt(base) {
  const sources = [base, base.replace(/\.([cm]?)js$/, '.$1ts')];
  const paths = sources.flatMap((one) => ENDINGS.map((ending) => `${one}${ending}`));
  const found = paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  return found === undefined ? null : realpathSync(found);
}

function read(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() && stats.size <= MOST_BYTES ? readFileSync(path, 'utf8') : '';
}
