/** Compares the table of promises with the checks of the simulation and with the tests, in both directions. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import type { Entry } from '../promises.ts';
import { PROMISES } from '../promises.ts';
import { ROOT } from '../support/daemon/daemon.ts';

const ENTRIES: readonly (readonly [string, Entry])[] = Object.entries(PROMISES);
const WITH_REAL_PROCESSES = /^test\/(e2e|systemd)\/.*\.test\.ts$/;

function nodesOf(path: string): ts.Node[] {
  const tree = ts.createSourceFile(
    path,
    readFileSync(join(ROOT, path), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: ts.Node[] = [];
  const visit = (node: ts.Node) => {
    found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** null: the node is no text. A part that is computed becomes `…`. */
function textOf(node: ts.Node | undefined): string | null {
  if (node === undefined) return null;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return null;
  return node.head.text + node.templateSpans.map((span) => `…${span.literal.text}`).join('');
}

/** Titles of `it(…)`, `it.each(…)(…)` and the like. */
function titlesIn(path: string): string[] {
  return nodesOf(path).flatMap((node) =>
    ts.isCallExpression(node) && /^it\b/.test(node.expression.getText())
      ? (textOf(node.arguments[0]) ?? [])
      : [],
  );
}

/** Texts of the form `ID: CHECK` with the id of a promise, as the checks of the simulation name themselves. */
function checksOfSimulation(): string[] {
  const names = globSync('test/sim/**/*.ts', { cwd: ROOT })
    .flatMap(nodesOf)
    .flatMap((node) => (ts.isStringLiteralLike(node) ? node.text : []))
    .filter((text) => ENTRIES.some(([id]) => text.startsWith(`${id}: `)));
  return [...new Set(names)].sort();
}

describe('the promises', () => {
  it('each promise has a check in the simulation and a test with real processes', () => {
    const bare = ENTRIES.filter(
      ([, { checks, tests }]) => checks.length === 0 || Object.values(tests).flat().length === 0,
    );
    expect(bare).toEqual([]);
  });

  it('the table has exactly the checks that the simulation makes', () => {
    const promised = ENTRIES.flatMap(([id, { checks }]) => checks.map((check) => `${id}: ${check}`));
    expect(checksOfSimulation()).toEqual(promised.sort());
  });

  it('each test that the table names exists and runs real processes', () => {
    const wrong = ENTRIES.flatMap(([id, { tests }]) =>
      Object.entries(tests).flatMap(([path, titles]: [string, readonly string[]]) => {
        const known = WITH_REAL_PROCESSES.test(path) ? titlesIn(path) : [];
        return titles
          .filter((title) => !known.includes(title))
          .map((title) => `${id}: ${path} has no test "${title}"`);
      }),
    );
    expect(wrong).toEqual([]);
  });
});
