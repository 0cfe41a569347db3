/** The rules that keep the tree readable. Each failure names file, line and what to do. */
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SourceFile } from './source.ts';
import { exportsOf, functionsOf, readTree } from './source.ts';

const FILE_LINES = 400;
const FUNCTION_LINES = 70;
const FOLDER_FILES = 15;
const src = readTree('src');
const tests = readTree('test');
const users = [...src, ...tests, ...readTree('scripts'), ...readTree('bench'), ...readTree('examples')];

/**
 * Downward only: a file may import files of its own layer and of those listed. A layer is the longest folder here that holds the file.
 * `*`: everything.
 */
const CORE = [
  'core',
  'core/rooms',
  'core/model',
  'core/teardown',
  'core/adoption',
  'core/activity',
  'core/session',
  'core/admission',
  'core/workers',
];
const BELOW = ['lib', 'lib/limits', ...CORE, 'ports'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'lib/limits': [],
  lib: ['lib/limits'],
  core: ['lib'],
  'core/rooms': ['core', 'lib/limits'],
  'core/model': ['core', 'core/rooms', 'lib', 'lib/limits'],
  'core/teardown': ['core', 'core/rooms', 'core/model', 'lib/limits'],
  'core/adoption': ['core', 'core/model', 'core/teardown'],
  'core/activity': ['core', 'core/model', 'lib/limits'],
  'core/session': [
    'core',
    'core/rooms',
    'core/model',
    'core/activity',
    'core/teardown',
    'core/adoption',
    'lib/limits',
  ],
  'core/admission': ['core', 'core/rooms', 'core/model', 'core/teardown', 'core/session', 'lib/limits'],
  'core/workers': ['core', 'core/model', 'core/teardown', 'lib/limits'],
  ports: CORE,
  api: [...CORE, 'lib', 'lib/limits'],
  process: BELOW,
  'adapters/cleanup': [...BELOW, 'process'],
  'adapters/config': [...BELOW, 'api', 'process'],
  'adapters/control': BELOW,
  'adapters/livekit/jobs': BELOW,
  'adapters/livekit/rooms': BELOW,
  'adapters/livekit/standin': BELOW,
  'adapters/registry': BELOW,
  'adapters/systemd': BELOW,
  'adapters/telemetry': BELOW,
  'adapters/worker': [...BELOW, 'process'],
  runtime: [...BELOW, 'api'],
  http: [...BELOW, 'api'],
  cli: [...BELOW, 'api', 'adapters/config', 'process'],
  app: ['*'],
  'main.ts': ['app', 'cli'],
};
const LAYERS = Object.keys(MAY_IMPORT).sort((a, b) => b.length - a.length);

/** Throws for a file that no layer holds. */
function layerOf(path: string): string {
  const layer = LAYERS.find((one) => path === `src/${one}` || path.startsWith(`src/${one}/`));
  if (layer === undefined) throw new Error(`${path} is in no layer; add its folder to MAY_IMPORT`);
  return layer;
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
        .filter((file) => file.lines > FILE_LINES)
        .map((file) => `${file.path}: ${file.lines} lines; split it`),
    ).toEqual([]);
  });

  it(`has folders of at most ${FOLDER_FILES} files of their own`, () => {
    const count = Map.groupBy(src, (file) => dirname(file.path));
    expect(
      [...count]
        .filter(([, files]) => files.length > FOLDER_FILES)
        .map(([folder, files]) => `${folder}: ${files.length} files; group them`),
    ).toEqual([]);
  });

  it('has each file name once', () => {
    const named = Map.groupBy(src, (file) => basename(file.path));
    expect([...named].filter(([, files]) => files.length > 1).map(([name]) => name)).toEqual([]);
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
