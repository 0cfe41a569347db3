/** The rules that keep the tree readable, each a function from files to what is wrong: `path:line what, and what to do`. */
import ts from 'typescript';
import type { SourceFile } from './source.ts';
import { exportsOf, findAll, functionsOf } from './source.ts';

/** Downward only: a file may import files of its own layer and of those listed. The picture is in docs/ARCHITECTURE.md. */
const BASE = ['errors', 'limits', 'durations', 'sockets', 'core'];
const ADAPTER = [...BASE, 'ports'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  limits: ['core'],
  durations: [],
  sockets: ['limits'],
  core: ['errors', 'limits'],
  ports: ['core'],
  api: ['core', 'limits', 'errors'],
  worker: ADAPTER,
  presence: ADAPTER,
  registry: ADAPTER,
  sweep: ADAPTER,
  cluster: ADAPTER,
  telemetry: ADAPTER,
  systemd: ADAPTER,
  config: [...ADAPTER, 'api'],
  runtime: [...ADAPTER, 'api'],
  http: [...ADAPTER, 'api', 'runtime'],
  cli: [...ADAPTER, 'api', 'config'],
  dev: [...BASE, 'config'],
  compose: ['*'],
  main: ['cli', 'compose'],
};

/** Pure packages: what they do depends on their arguments alone. */
const CORE_PACKAGES = ['zod'];

function layerOf(path: string): string {
  const [, first = '', second] = path.split('/');
  return second === undefined ? first.replace(/\.ts$/, '') : first;
}

export function wrongLayers(file: SourceFile): string[] {
  const layer = layerOf(file.path);
  const allowed = MAY_IMPORT[layer];
  if (allowed === undefined)
    return [`${file.path}:1 is in no known layer; give ${layer} a place in test/style/rules.ts`];
  return file.imports.flatMap(({ target, line }) => {
    const other = target === null ? layer : layerOf(target);
    if (other === layer || allowed.includes('*') || allowed.includes(other)) return [];
    const may = allowed.join(', ') || 'nothing';
    return [`${file.path}:${line} imports ${other}; ${layer} may import ${may}`];
  });
}

export function circles(files: readonly SourceFile[]): string[] {
  const edges = new Map(files.map((file) => [file.path, file.imports.flatMap(({ target }) => target ?? [])]));
  return files.flatMap(({ path }) => circleFrom(path, edges));
}

/** The shortest way back to where it began, told once: from its first file in the alphabet. */
function circleFrom(start: string, edges: ReadonlyMap<string, readonly string[]>): string[] {
  const seen = new Set<string>();
  const waiting = (edges.get(start) ?? []).map((target) => [start, target]);
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const last = path.at(-1) ?? '';
    if (last === start)
      return path.every((one) => one >= start) ? [`${path.join(' → ')}: a circle; break it`] : [];
    if (seen.has(last)) continue;
    seen.add(last);
    for (const target of edges.get(last) ?? []) waiting.push([...path, target]);
  }
  return [];
}

const OUTSIDE =
  /^(performance|process|globalThis|Buffer|console|crypto|fetch|queueMicrotask|(set|clear)(Timeout|Interval|Immediate))$/;

/** No clock, chance, I/O or promise in the core: it would not replay. */
export function impurities(file: SourceFile): string[] {
  const packages = file.imports.flatMap(({ target, specifier, line }) =>
    target === null && !CORE_PACKAGES.includes(specifier)
      ? [`${file.path}:${line} imports ${specifier}; the core is pure, move it to an adapter`]
      : [],
  );
  const own = namesDeclared(file);
  return [...packages, ...findAll(file, (node) => impurity(node, own))];
}

/** A local that is called `process` is no process. */
function namesDeclared({ tree }: SourceFile): Set<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node) => {
    if (ts.isVariableDeclaration(node) || ts.isBindingElement(node) || ts.isParameter(node))
      names.add(node.name.getText());
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return names;
}

function impurity(node: ts.Node, own: ReadonlySet<string>): string | null {
  const said = (what: string) => `uses ${what}; take it as an argument or make it an effect`;
  if (ts.isPropertyAccessExpression(node)) {
    const text = node.getText();
    return ['Date.now', 'Math.random'].includes(text) ? said(text) : null;
  }
  if (ts.isNewExpression(node)) {
    const made = node.expression.getText();
    const noArguments = (node.arguments?.length ?? 0) === 0;
    if (made === 'Promise' || (made === 'Date' && noArguments)) return said(`new ${made}`);
  }
  if (ts.isFunctionLike(node) && ts.canHaveModifiers(node))
    return ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) === true
      ? said('async')
      : null;
  if (!ts.isIdentifier(node) || !OUTSIDE.test(node.text)) return null;
  return isFree(node) && !own.has(node.text) ? said(node.text) : null;
}

/** A name of its own, not a property or a key that happens to be called so. */
function isFree(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  return !(ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent)) || parent.name !== node;
}

export function longFile(file: SourceFile, most: number): string[] {
  return file.lines > most ? [`${file.path}:${most + 1} ${file.lines} lines, at most ${most}; split it`] : [];
}

export function longFunctions(file: SourceFile, most: number): string[] {
  return functionsOf(file)
    .filter(({ lines }) => lines > most)
    .map(
      ({ line, name, lines }) => `${file.path}:${line} ${name} has ${lines} lines, at most ${most}; split it`,
    );
}

/**
 * What a file exports is imported by another file of the product; what only a test imports is dead, unless `forTests` says why not.
 * A type may also be exported for an exported signature that names it.
 */
export function deadExports(
  file: SourceFile,
  users: { product: readonly SourceFile[]; tests: readonly SourceFile[] },
  forTests: Readonly<Record<string, string>>,
): string[] {
  const byProduct = namesTaken(file, users.product);
  const byTests = namesTaken(file, users.tests);
  const exported = exportsOf(file);
  return exported.flatMap(({ name, line, isType, statement }) => {
    const taken = (names: ReadonlySet<string>) => names.has('*') || names.has(name);
    if (taken(byProduct) || (taken(byTests) && (isType || `${file.path} ${name}` in forTests))) return [];
    const named = (one: { statement: ts.Statement }) =>
      one.statement !== statement && new RegExp(`\\b${name}\\b`).test(one.statement.getText());
    if (isType && exported.some(named)) return [];
    const by = taken(byTests) ? 'imported by tests alone' : 'imported by nobody';
    return [`${file.path}:${line} ${name} is exported and ${by}; drop the export, or the code`];
  });
}

function namesTaken(file: SourceFile, users: readonly SourceFile[]): Set<string> {
  return new Set(
    users.flatMap(({ imports }) =>
      imports.filter(({ target }) => target === file.path).flatMap(({ names }) => names),
    ),
  );
}

/** An export of what another file declares hides where it lives. */
export function reexports(file: SourceFile): string[] {
  return findAll(file, (node) =>
    ts.isExportDeclaration(node) || ts.isExportAssignment(node)
      ? 'exports apart from a declaration; export where it is declared, import from there'
      : null,
  );
}

export function moduleState(file: SourceFile): string[] {
  return file.tree.statements.flatMap((statement) =>
    ts.isVariableStatement(statement) && (statement.declarationList.flags & ts.NodeFlags.Const) === 0
      ? findAll(file, (node) =>
          node === statement ? 'a variable of the module; give it to what has the lifetime' : null,
        )
      : [],
  );
}

export function unfinished(file: SourceFile): string[] {
  return linesWith(file, /\b(TODO|FIXME|XXX|HACK)\b/, 'unfinished work; do it, or open an issue');
}

export function evasions(file: SourceFile): string[] {
  const comments = /@ts-(ignore|expect-error|nocheck)|biome-ignore/;
  return [
    ...linesWith(file, comments, 'goes around the type checker or the linter; say it in types'),
    ...findAll(file, (node) => {
      if (node.kind === ts.SyntaxKind.AnyKeyword) return 'any; name the type, or unknown';
      return ts.isNonNullExpression(node) ? 'a `!`; prove it, or handle its absence' : null;
    }),
  ];
}

function linesWith(file: SourceFile, pattern: RegExp, what: string): string[] {
  return file.tree.text
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${file.path}:${index + 1} ${what}`] : []));
}

const RUNNERS = ['it', 'test', 'describe'];

export function skippedTests(file: SourceFile): string[] {
  return findAll(file, (node) => {
    if (!ts.isPropertyAccessExpression(node) || !RUNNERS.includes(node.expression.getText())) return null;
    const wrong = ['only', 'skip', 'todo', 'fails'].includes(node.name.text);
    return wrong ? `${node.getText()}; run it, mend it or drop it` : null;
  });
}

/** Tests wait for conditions; and what they test is the real thing. */
export function sleepsAndMocks(file: SourceFile): string[] {
  const imported = file.imports.flatMap(({ specifier, line }) =>
    /^(node:)?timers\/promises$/.test(specifier)
      ? [`${file.path}:${line} a fixed sleep; wait for a condition with until()`]
      : [],
  );
  return [...imported, ...findAll(file, sleepOrMock)];
}

function sleepOrMock(node: ts.Node): string | null {
  if (!ts.isCallExpression(node)) return null;
  const called = node.expression.getText();
  if (['vi.mock', 'vi.doMock'].includes(called)) return `${called}; test against the real thing`;
  const [callback] = node.arguments;
  if (called !== 'setTimeout' || callback === undefined || !ts.isIdentifier(callback)) return null;
  const resolves = executorParameters(node).includes(callback.text);
  return resolves ? 'a fixed sleep; wait for a condition with until()' : null;
}

/** Of the promises being made around this node. */
function executorParameters(node: ts.Node): string[] {
  const names: string[] = [];
  for (let at = node; !ts.isSourceFile(at); at = at.parent)
    if ((ts.isArrowFunction(at) || ts.isFunctionExpression(at)) && ts.isNewExpression(at.parent))
      names.push(...at.parameters.map(({ name }) => name.getText()));
  return names;
}
