/** The source tree as the style test reads it: files, imports, exports and functions, by TypeScript's own parser. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../support/daemon.ts';

export interface Import {
  readonly line: number;
  /** As it is written. */
  readonly specifier: string;
  /** Relative imports, resolved to paths like SourceFile's; null for packages. */
  readonly target: string | null;
  /** `*` when all of it may be used. */
  readonly names: readonly string[];
}

export interface SourceFile {
  /** Relative to the repository, such as `src/core/decide.ts`. */
  readonly path: string;
  readonly lines: number;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
}

export interface Measured {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

export function readTree(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|mjs)$/.test(entry.name) && !entry.name.endsWith('.d.mts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => parse(relative(ROOT, file), readFileSync(file, 'utf8')));
}

export function parse(path: string, text: string): SourceFile {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return { path, lines: text.split('\n').length - 1, tree, imports: importsOf(path, tree) };
}

export function lineOf(node: ts.Node): number {
  const tree = node.getSourceFile();
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1;
}

/** Every node that `wanted` says something of, as `path:line what it says`. */
export function findAll(file: SourceFile, wanted: (node: ts.Node) => string | null): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node) => {
    const said = wanted(node);
    if (said !== null) found.push(`${file.path}:${lineOf(node)} ${said}`);
    ts.forEachChild(node, visit);
  };
  visit(file.tree);
  return found;
}

function importsOf(path: string, tree: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node) => {
    const one = importOf(node);
    if (one !== null)
      found.push({
        ...one,
        line: lineOf(node),
        target: one.specifier.startsWith('.')
          ? relative(ROOT, resolve(ROOT, dirname(path), one.specifier))
          : null,
      });
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** `import … from`, `export … from`, `import()` and the types of `import()`. */
function importOf(node: ts.Node): { specifier: string; names: string[] } | null {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    const { moduleSpecifier } = node;
    if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) return null;
    const names = ts.isImportDeclaration(node) ? namesOf(node.importClause) : ['*'];
    return { specifier: moduleSpecifier.text, names };
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [specifier] = node.arguments;
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return null;
    return { specifier: specifier.text, names: takenFrom(node) };
  }
  if (!ts.isImportTypeNode(node) || !ts.isLiteralTypeNode(node.argument)) return null;
  const { literal } = node.argument;
  return ts.isStringLiteral(literal) ? { specifier: literal.text, names: ['*'] } : null;
}

function namesOf(clause: ts.ImportClause | undefined): string[] {
  const bindings = clause?.namedBindings;
  if (bindings === undefined || !ts.isNamedImports(bindings)) return ['*'];
  return bindings.elements.map((one) => (one.propertyName ?? one.name).text);
}

/** `(await import(…)).name` and `const { name } = await import(…)`. */
function takenFrom(call: ts.CallExpression): string[] {
  let node: ts.Node = call;
  while (ts.isAwaitExpression(node.parent) || ts.isParenthesizedExpression(node.parent)) node = node.parent;
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return [parent.name.text];
  if (ts.isVariableDeclaration(parent) && ts.isObjectBindingPattern(parent.name))
    return parent.name.elements.map((one) => (one.propertyName ?? one.name).getText());
  return ['*'];
}

export interface Exported {
  readonly name: string;
  readonly line: number;
  readonly isType: boolean;
  readonly statement: ts.Statement;
}

export function exportsOf({ tree }: SourceFile): Exported[] {
  return tree.statements.flatMap((statement): Exported[] => {
    if (!isExported(statement)) return [];
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
    const declared = ts.isVariableStatement(statement) ? statement.declarationList.declarations : [statement];
    return declared.flatMap((one) => {
      const name = (one as ts.NamedDeclaration).name?.getText();
      return name === undefined ? [] : [{ name, line: lineOf(one), isType, statement }];
    });
  });
}

function isExported(statement: ts.Statement): boolean {
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some((one) => one.kind === ts.SyntaxKind.ExportKeyword) === true;
}

export function functionsOf({ tree }: SourceFile): Measured[] {
  const found: Measured[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const line = lineOf(node);
      const last = tree.getLineAndCharacterOfPosition(node.getEnd()).line + 1;
      found.push({ name: node.name?.getText() ?? '(anonymous)', line, lines: last - line + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}
