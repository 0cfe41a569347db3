/** Every link and every path that the docs name leads somewhere. */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import type { Page } from './markdown.ts';
import { anchorsOf, pages } from './markdown.ts';

const all = pages();
const byPath = new Map(all.map((one) => [one.path, one]));
/** Folders whose paths the docs name in code. */
const NAMED = /`((?:src|test|docs|scripts|bench|kits|examples|config|systemd)\/[\w./-]*[\w/])`/g;

interface Link {
  readonly target: string;
  readonly anchor: string;
}

function linksOf({ prose }: Page): Link[] {
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((found) => found[1] ?? '')
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [target = '', anchor = ''] = link.split('#');
      return { target, anchor };
    });
}

/** Why a link of this page leads nowhere; null: it leads somewhere. */
function faultOf(page: Page, { target, anchor }: Link): string | null {
  const path = target === '' ? page.path : normalize(join(dirname(page.path), target));
  if (!existsSync(join(ROOT, path))) return `${page.path}: ${target} is not there`;
  const other = byPath.get(path);
  if (anchor === '' || other === undefined || anchorsOf(other).has(anchor)) return null;
  return `${page.path}: ${path} has no heading #${anchor}`;
}

describe('the docs', () => {
  it('are found', () => {
    expect(all.length).toBeGreaterThan(50);
  });

  it('have relative links that all lead to a file and a heading', () => {
    const faults = all.flatMap((page) => linksOf(page).map((link) => faultOf(page, link)));
    expect(faults.filter((one) => one !== null)).toEqual([]);
  });

  it('name only paths that exist', () => {
    const faults = all
      .filter((page) => page.path !== 'CHANGELOG.md')
      .flatMap(({ path, text }) =>
        [...text.matchAll(NAMED)]
          .map((found) => found[1] ?? '')
          .filter((named) => !existsSync(join(ROOT, named)))
          .map((named) => `${path}: ${named} is not there`),
      );
    expect(faults).toEqual([]);
  });
});

describe('sources', () => {
  it('link only to pages of docs/ that exist', async () => {
    const { readTree } = await import('../style/source.ts');
    const files = ['src', 'scripts', 'test', 'bench', 'kits', 'examples'].flatMap(readTree);
    const faults = files.flatMap(({ path, text }) =>
      [...text.matchAll(/\bdocs\/[\w./-]+\.md\b/g)]
        .map((found) => found[0])
        .filter((named) => !existsSync(join(ROOT, named)))
        .map((named) => `${path}: ${named} is not there`),
    );
    expect(faults).toEqual([]);
  });
});
