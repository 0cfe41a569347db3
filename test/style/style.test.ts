/** Holds the tree to its rules. Each failure names file, line and what to do. */
import { describe, expect, it } from 'vitest';
import {
  circles,
  deadExports,
  evasions,
  impurities,
  longFile,
  longFunctions,
  moduleState,
  reexports,
  skippedTests,
  sleepsAndMocks,
  unfinished,
  wrongLayers,
} from './rules.ts';
import { parse, readTree } from './source.ts';

const FILE_LINES = 300;
const TEST_FILE_LINES = 400;
const FUNCTION_LINES = 70;

/** Exports that tests alone import, and why they may. */
const FOR_TESTS: Readonly<Record<string, string>> = {
  'src/worker/proc.ts findMark': 'environments as bytes that no process can be made to have',
};

/** Test files in which time itself is what happens, and why. */
const MAY_SLEEP: Readonly<Record<string, string>> = {
  'test/support/wait.ts': 'between two looks at the condition',
  'test/e2e/outage.test.ts': 'LiveKit is away for a given time',
};

const src = readTree('src');
const tools = ['scripts', 'bench', 'examples', 'kits/node'].flatMap(readTree);
const tests = readTree('test');
const product = [...src, ...tools];

describe('the source tree', () => {
  it('imports downward only', () => {
    expect(src.flatMap(wrongLayers)).toEqual([]);
  });

  it('has no import circles', () => {
    expect(circles(src)).toEqual([]);
  });

  it('keeps clock, chance and the outside out of the core', () => {
    expect(src.filter(({ path }) => path.startsWith('src/core/')).flatMap(impurities)).toEqual([]);
  });

  it('has short files', () => {
    const long = [
      ...product.flatMap((file) => longFile(file, FILE_LINES)),
      ...tests.flatMap((file) => longFile(file, TEST_FILE_LINES)),
    ];
    expect(long).toEqual([]);
  });

  it('has short functions', () => {
    expect(product.flatMap((file) => longFunctions(file, FUNCTION_LINES))).toEqual([]);
  });

  it('exports nothing that nobody uses', () => {
    expect(src.flatMap((file) => deadExports(file, { product, tests }, FOR_TESTS))).toEqual([]);
  });

  it('exports things where they are declared', () => {
    expect(src.flatMap(reexports)).toEqual([]);
  });

  it('keeps no state in modules', () => {
    expect(src.flatMap(moduleState)).toEqual([]);
  });

  it('has no unfinished work', () => {
    const rules = /^test\/style\//;
    expect([...product, ...tests].filter(({ path }) => !rules.test(path)).flatMap(unfinished)).toEqual([]);
  });

  it('goes around neither the type checker nor the linter', () => {
    expect(src.flatMap(evasions)).toEqual([]);
  });
});

describe('the tests', () => {
  it('are all run', () => {
    expect(tests.flatMap(skippedTests)).toEqual([]);
  });

  it('wait for conditions, not for time, and mock nothing', () => {
    const held = tests.filter(({ path }) => !path.startsWith('test/fixtures/') && !(path in MAY_SLEEP));
    expect(held.flatMap(sleepsAndMocks)).toEqual([]);
  });
});

describe('the rules themselves see', () => {
  const core = (text: string) => parse('src/core/x.ts', text);
  const nobody = { product: [], tests: [] };

  it.each([
    ['an upward import', () => wrongLayers(parse('src/core/x.ts', "import '../http/app.ts';"))],
    ['one adapter in another', () => wrongLayers(parse('src/worker/x.ts', "import '../presence/a.ts';"))],
    ['a type import', () => wrongLayers(parse('src/core/x.ts', "type A = import('../ports.ts').Log;"))],
    ['a file of no layer', () => wrongLayers(parse('src/new/x.ts', ''))],
    [
      'a circle of two',
      () => circles([parse('src/a.ts', "import './b.ts';"), parse('src/b.ts', "import './a.ts';")]),
    ],
    ['the clock', () => impurities(core('const a = Date.now();'))],
    ['a new date', () => impurities(core('const a = new Date();'))],
    ['chance', () => impurities(core('const a = Math.random();'))],
    ['a timer', () => impurities(core('setTimeout(() => 1, 2);'))],
    ['the process', () => impurities(core('const { env } = process;'))],
    ['a promise', () => impurities(core('async () => 1;'))],
    ['a package', () => impurities(core("import 'node:fs';"))],
    ['a long file', () => longFile(core('\n'.repeat(11)), 10)],
    ['a long function', () => longFunctions(core(`function f() {${'\n'.repeat(11)}}`), 10)],
    ['a dead export', () => deadExports(core('export const a = 1;'), nobody, {})],
    ['a dead type', () => deadExports(core('export type A = 1; const a: A = 1;'), nobody, {})],
    [
      'an export that tests alone use',
      () =>
        deadExports(
          core('export const a = 1;'),
          { product: [], tests: [parse('test/x.ts', "import { a } from '../src/core/x.ts';")] },
          {},
        ),
    ],
    ['a barrel', () => reexports(core("export * from './y.ts';"))],
    ['state of a module', () => moduleState(core('let a = 1;'))],
    ['unfinished work', () => unfinished(core('// TODO: it'))],
    ['any', () => evasions(core('const a = 1 as any;'))],
    ['a `!`', () => evasions(core('const b = a!;'))],
    ['a skipped test', () => skippedTests(core('it.skip("a", () => 1);'))],
    ['a sleep', () => sleepsAndMocks(core('await new Promise((done) => setTimeout(done, 1));'))],
    ['a pause', () => sleepsAndMocks(core("import { setTimeout as pause } from 'node:timers/promises';"))],
    ['a mock', () => sleepsAndMocks(core("vi.mock('../src/core/x.ts');"))],
  ])('%s', (_what, broken) => {
    expect(broken()).toHaveLength(1);
    expect(broken()[0]).toMatch(/^src\/[a-z/]+\.ts(:\d+)? /);
  });

  it('what is allowed', () => {
    const pure = core(
      'export const at = (ms: number) => ({ process: 1, text: new Date(ms).toISOString() });',
    );
    expect(impurities(pure)).toEqual([]);
    expect(impurities(core('const [process, room] = steps; process.begin();'))).toEqual([]);
    const user = { product: [parse('src/y.ts', "const { at } = await import('./core/x.ts');")], tests: [] };
    expect(deadExports(pure, user, {})).toEqual([]);
    expect(deadExports(core('export interface A {} export const b: A = {};'), nobody, {})).toHaveLength(1);
  });
});
