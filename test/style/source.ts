/** The source tree as the style test reads it: files, imports, exports and functions, by TypeScript's own parser. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../support/daemon/daemon.ts';

export interface SourceFile {
  /** Relative to the repository, such as `src/core/session/decide.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly tree: ts.SourceFile;
  /** Relative imports, resolved to paths like `path`. */
  readonly imports: readonly { readonly target: string; readonly names: readonly string[] }[];
}

export function readTree(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|mjs)$/.test(entry.name) && !entry.name.endsWith('.d.mts'))
    .map((entry) => readSource(join(entry.parentPath, entry.name)));
}

function readSource(file: string): SourceFile {
  const text = readFileSync(file, 'utf8');
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  return {
    path: relative(ROOT, file),
    text,
    lines: text.split('\n').length - 1,
    tree,
    imports: importsOf(file, tree),
  };
}

function importsOf(file: string, tree: ts.SourceFile): SourceFile['imports'] {
  const found: { target: string; names: string[] }[] = [];
  const add = (specifier: string, names: string[]) => {
    if (specifier.startsWith('.'))
      found.push({ target: relative(ROOT, resolve(dirname(file), specifier)), names });
  };
  const visit = (node: ts.Node) => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier))
      add(node.moduleSpecifier.text, namesOf(node.importClause));
    if (
      ts.isExportDeclaration(node) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    )
      add(node.moduleSpecifier.text, ['*']);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      addDynamic(node, add);
    if (
      ts.isImportTypeNode(node) &&
      ts.isLiteralTypeNode(node.argument) &&
      ts.isStringLiteral(node.argument.literal)
    )
      add(node.argument.literal.text, ['*']);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function addDynamic(node: ts.CallExpression, add: (specifier: string, names: string[]) => void): void {
  const [specifier] = node.arguments;
  if (specifier !== undefined && ts.isStringLiteral(specifier)) add(specifier.text, ['*']);
}

function namesOf(clause: ts.ImportClause | undefined): string[] {
  const bindings = clause?.namedBindings;
  if (bindings === undefined) return ['*'];
  return ts.isNamedImports(bindings)
    ? bindings.elements.map((one) => (one.propertyName ?? one.name).text)
    : ['*'];
}

export interface Exported {
  readonly name: string;
  readonly line: number;
}

export function exportsOf({ tree }: SourceFile): Exported[] {
  return tree.statements.flatMap((statement): Exported[] => {
    const exported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some((one) => one.kind === ts.SyntaxKind.ExportKeyword);
    if (!exported) return [];
    // Types may be exported for the signatures that name them.
    if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) return [];
    const line = lineOf(tree, statement);
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.map((one) => ({ name: one.name.getText(), line }));
    const { name } = statement as ts.FunctionDeclaration;
    return name === undefined ? [] : [{ name: name.text, line }];
  });
}

export interface Measured {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

export function functionsOf({ tree }: SourceFile): Measured[] {
  const found: Measured[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const from = lineOf(tree, node);
      const to = tree.getLineAndCharacterOfPosition(node.getEnd()).line + 1;
      found.push({ name: node.name?.getText() ?? '(anonymous)', line: from, lines: to - from + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function lineOf(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart()).line + 1;
}
