/** The Markdown of the repository as the tests of the docs read it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/daemon/daemon.ts';

export interface Page {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  /** Without blocks of code. */
  readonly prose: string;
}

const FOLDERS = ['docs', 'bench', 'config', 'examples', 'kits', 'scripts', 'systemd', 'test'];

export function pages(): Page[] {
  const nested = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
  );
  return [...readdirSync(ROOT), ...nested]
    .filter((path) => path.endsWith('.md') && !path.includes('node_modules/'))
    .map(read);
}

function read(path: string): Page {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return { path, text, prose: text.replaceAll(/^```[\s\S]*?^```$/gm, '') };
}

/** As GitHub makes them, one for each heading. */
export function anchorsOf({ prose }: Page): Set<string> {
  const titles = [...prose.matchAll(/^#+ (.+)$/gm)].map((found) => found[1] ?? '');
  return new Set(titles.map(anchorOf));
}

function anchorOf(title: string): string {
  return title
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}
