/** The rules that keep the tree readable. Each failure names file, line and what to do. */
import { describe, expect, it } from 'vitest';
import type { SourceFile } from './source.ts';
import { exportsOf, functionsOf, readTree } from './source.ts';

const FILE_LINES = 300;
const FUNCTION_LINES = 70;
/** One table each, which is read by looking up and not from top to end. */
const TABLES = ['src/limits.ts', 'src/errors.ts'];
const TABLE_LINES = 400;

const src = readTree('src');
const tests = readTree('test');
const users = [...src, ...tests, ...readTree('scripts'), ...readTree('bench'), ...readTree('examples')];

/** Downward only: a file may import files of its own folder and of those listed. */
const ROOTS = [
  'errors',
  'limits',
  'limits-livekit',
  'durations',
  'files',
  'sockets',
  'texts',
  'failpoints',
  'core',
];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  failpoints: [],
  limits: ['core'],
  'limits-livekit': [],
  durations: [],
  files: [],
  sockets: ['limits'],
  core: ['errors', 'limits'],
  ports: ['core'],
  'ports-jobs': ['core'],
  'ports-upkeep': ['core'],
  texts: ['limits'],
  api: ['core', 'limits', 'errors', 'texts', 'api-sweep'],
  'api-sweep': ['texts'],
  process: [...ROOTS, 'ports', 'ports-upkeep'],
  worker: [...ROOTS, 'ports', 'process'],
  sweep: [...ROOTS, 'ports', 'ports-upkeep', 'process'],
  presence: [...ROOTS, 'ports'],
  jobs: [...ROOTS, 'ports', 'ports-jobs'],
  standin: [...ROOTS, 'ports'],
  registry: [...ROOTS, 'ports', 'ports-upkeep'],
  telemetry: [...ROOTS, 'ports', 'ports-upkeep'],
  systemd: ['errors', 'limits', 'ports'],
  config: [...ROOTS, 'ports', 'api', 'api-sweep', 'process'],
  runtime: [...ROOTS, 'ports', 'ports-jobs', 'ports-upkeep', 'api', 'api-sweep'],
  http: [...ROOTS, 'ports', 'api', 'api-sweep', 'runtime'],
  cli: [...ROOTS, 'ports', 'api', 'api-sweep', 'config', 'process'],
  dev: [...ROOTS, 'config'],
  compose: ['*'],
  'compose-cleanup': ['*'],
  'compose-livekit': ['*'],
  'compose-run': ['*'],
  // The registry's thread begins before the rest is loaded.
  main: ['cli', 'compose', 'compose-cleanup', 'compose-run', 'limits', 'registry'],
};

function layerOf(path: string): string {
  const [, first = '', second] = path.split('/');
  return second === undefined ? first.replace(/\.ts$/, '') : first;
}

describe('the source tree', () => {
  it('imports downward only', () => {
    const wrong = src.flatMap((file) => {
      const layer = layerOf(file.path);
      const allowed = MAY_IMPORT[layer] ?? [];
      return file.imports
        .map(({ target }) => layerOf(target))
        .filter((other) => other !== layer && !allowed.includes('*') && !allowed.includes(other))
        .map(
          (other) => `${file.path} imports ${other}; ${layer} may import ${allowed.join(', ') || 'nothing'}`,
        );
    });
    expect(wrong).toEqual([]);
  });

  it('has no import circles', () => {
    const edges = new Map(src.map((file) => [file.path, file.imports.map((one) => one.target)]));
    expect([...edges.keys()].flatMap((path) => circleFrom(path, edges))).toEqual([]);
  });

  it('keeps clock, chance and the outside out of the core', () => {
    const banned =
      /Date\.now|new Date\(\)|performance\.|Math\.random|process\.(env|exit|pid|argv|hrtime|std|on)|node:|setTimeout|setInterval|fetch\(|Promise|async /;
    expect(
      src.filter((file) => file.path.startsWith('src/core/')).flatMap((file) => matches(file, banned)),
    ).toEqual([]);
  });

  it(`has files of at most ${FILE_LINES} lines`, () => {
    expect(
      src
        .filter((file) => file.lines > (TABLES.includes(file.path) ? TABLE_LINES : FILE_LINES))
        .map((file) => `${file.path}: ${file.lines} lines; split it`),
    ).toEqual([]);
  });

  it(`has functions of at most ${FUNCTION_LINES} lines`, () => {
    const long = src.flatMap((file) =>
      functionsOf(file)
        .filter((one) => one.lines > FUNCTION_LINES)
        .map((one) => `${file.path}:${one.line} ${one.name}: ${one.lines} lines; split it`),
    );
    expect(long).toEqual([]);
  });

  it('exports nothing that nobody uses', () => {
    expect(src.flatMap(deadExports)).toEqual([]);
  });

  it('has no marks of unfinished work', () => {
    expect(
      [...src, ...tests]
        .filter((file) => file.path !== 'test/style/style.test.ts')
        .flatMap((file) => matches(file, /\b(TODO|FIXME|XXX|HACK)\b/)),
    ).toEqual([]);
  });

  it('goes around neither the type checker nor the linter', () => {
    expect(
      src.flatMap((file) =>
        matches(file, /@ts-(ignore|expect-error|nocheck)|\bas any\b|: any\b|biome-ignore/),
      ),
    ).toEqual([]);
  });
});

describe('the tests', () => {
  it('are all run', () => {
    expect(
      tests
        .filter((file) => !file.path.startsWith('test/style/'))
        .flatMap((file) => matches(file, /\b(it|test|describe)\.(only|skip|todo)\b/)),
    ).toEqual([]);
  });

  it('wait for conditions, not for time', () => {
    expect(
      tests
        .filter((file) => !file.path.startsWith('test/style/'))
        .flatMap((file) => matches(file, /setTimeout\(\s*(r|resolve|res)\b|sleep\([0-9]/)),
    ).toEqual([]);
  });
});

function matches(file: SourceFile, pattern: RegExp): string[] {
  return file.text
    .split('\n')
    .flatMap((line, index) =>
      pattern.test(line) && !/^\s*(\*|\/\/|\/\*)/.test(line)
        ? [`${file.path}:${index + 1} ${line.trim()}`]
        : [],
    );
}

/** Every export must be imported somewhere by name, or be used in its own file's exported types. */
function deadExports(file: SourceFile): string[] {
  if (file.path === 'src/main.ts') return [];
  const used = new Set(
    users.flatMap((user) =>
      user.imports.filter((one) => one.target === file.path).flatMap((one) => one.names),
    ),
  );
  if (used.has('*')) return [];
  return exportsOf(file)
    .filter((one) => !used.has(one.name))
    .map(
      (one) =>
        `${file.path}:${one.line} ${one.name} is exported and used nowhere else; drop the export, or the code`,
    );
}

function circleFrom(start: string, edges: ReadonlyMap<string, readonly string[]>): string[] {
  const seen = new Set<string>();
  const waiting = (edges.get(start) ?? []).map((target) => [start, target]);
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const last = path.at(-1) ?? '';
    if (last === start) return [path.join(' → ')];
    if (seen.has(last)) continue;
    seen.add(last);
    for (const target of edges.get(last) ?? []) waiting.push([...path, target]);
  }
  return [];
}
