/**
 * Finds prose that is hard to read: in comments, docstrings and Markdown. The rules are those of CONTRIBUTING, "Language".
 * As a program it prints the faults below the paths it is given: `node test/style/language.ts src/core docs`.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../support/daemon/daemon.ts';

/** Words in one sentence. Inline code and a link count as one word each. */
export const SENTENCE_WORDS = 25;

/** One piece of prose that belongs together: a paragraph, a list item, a comment. */
interface Prose {
  /** Of its first line, from 1. */
  readonly line: number;
  readonly text: string;
  readonly kind: 'comment' | 'doc' | 'message';
}

interface Banned {
  readonly pattern: RegExp;
  readonly why: string;
  /** Only in comments: Markdown may use it. */
  readonly inComments?: true;
}

const BANNED: readonly Banned[] = [
  { pattern: /\b(whoever|whom|whatsoever|whomever)\b|^whose\b/i, why: 'name the thing' },
  { pattern: /\bwho\b/i, why: 'name the thing: the caller, the session, the person', inComments: true },
  {
    pattern:
      /^(Who|What|Whatever|One that|One which|One who|Those that|Those who|That (a|an|the|it|this|its|LiveKit))\b(?!.*\?$)/,
    why: 'begin with a named subject',
  },
  { pattern: /\bof before\b/i, why: 'say "earlier", or name the version or supervisor' },
  { pattern: /\bby (itself|themselves|himself)\b/i, why: 'say "without a request" or "automatically"' },
  { pattern: /\b(is|are|was|were|be|been) told\b|\btold of\b/i, why: 'use the active voice: X tells Y' },
  { pattern: /\b(gives?|gave|giving|given) way\b/i, why: 'say "is replaced" or "ends"' },
  { pattern: /\blets? go\b|\blet go\b|\bletting go\b/i, why: 'say "releases", "stops" or "ends"' },
  { pattern: /\b(stands?|stood|standing) still\b/i, why: 'say "is suspended" or "does not run"' },
  {
    pattern: /\banew\b|\bafresh\b|\blest\b|\bbut for\b|\bnought\b|\bthereof\b|\bthereby\b/i,
    why: 'use a common word',
  },
  {
    pattern: /\bas it should be\b|\ball the same\b|\bfor good\b|\bof its own accord\b/i,
    why: 'avoid the idiom',
  },
  { pattern: /\bnobody('s| else's)\b|\bsomebody('s| else's)\b/i, why: 'name the owner' },
  {
    pattern:
      /, for (it|they|nobody|there|only|(the|an?|its|this|that) \w+ (is|are|was|has|had|can|may|would|will|does))\b/i,
    why: 'say "because"',
  },
  {
    pattern:
      /\b(a|the|each|every|first|last|next|one|another|complete|fresh|two|between|new|such) looks?\b|\blooks? (at|of|for) (the )?rooms?\b/i,
    why: 'name it: poll, snapshot, scan, probe, re-check',
  },
];

export interface Fault {
  readonly path: string;
  readonly line: number;
  readonly what: string;
}

export function faultsIn(path: string, text: string): Fault[] {
  return proseOf(path, text).flatMap((prose) =>
    sentencesOf(prose.text).flatMap((sentence) =>
      faultsOf(sentence, prose.kind).map((what) => ({
        path,
        line: prose.line,
        what: `${what}: "${sentence}"`,
      })),
    ),
  );
}

function faultsOf(sentence: string, kind: Prose['kind']): string[] {
  const words = sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
  const long = words > SENTENCE_WORDS ? [`${words} words, at most ${SENTENCE_WORDS}`] : [];
  const banned = BANNED.flatMap(({ pattern, why, inComments }) => {
    const found = inComments === true && kind !== 'comment' ? null : pattern.exec(sentence);
    return found === null ? [] : [`"${found[0]}": ${why}`];
  });
  return [...long, ...banned];
}

/** A sentence ends with `.`, `!` or `?` before a space. Abbreviations such as `e.g.` end none. */
function sentencesOf(text: string): string[] {
  return text
    .replace(/\b(e\.g|i\.e|etc|vs|approx)\./g, '$1')
    .split(/(?<=[.!?][)"'”]?)\s+(?=[\p{Lu}`"'([\d<*_]|[a-z_]+: )/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '');
}

function proseOf(path: string, text: string): Prose[] {
  switch (extname(path)) {
    case '.md':
      return markdown(text);
    case '.py':
      return python(text);
    case '.yaml':
    case '.service':
    case '.timer':
    case '.sh':
      return hashComments(text);
    default:
      return typescript(path, text);
  }
}

/** Code and links are one word each; marks of emphasis are none. */
function plain(text: string): string {
  return text
    .replace(/``[^`]+``|`[^`]*`/g, 'CODE')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/https?:\/\/\S+/g, 'LINK')
    .replace(/\{@link ([^}]*)\}/g, '$1')
    .replace(/\*\*|__/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Joins lines until a blank one, a list item or a line that ends with a colon before a list. */
function paragraphs(lines: readonly string[], first: number, kind: Prose['kind']): Prose[] {
  const found: { line: number; text: string; kind: Prose['kind'] }[] = [];
  let open = false;
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    const item = /^([-*+]|\d+[.)]) +/.exec(line);
    if (line === '') open = false;
    else if (item !== null) {
      found.push({ line: first + index, text: line.slice(item[0].length), kind });
      open = true;
    } else if (open) {
      const last = found.at(-1);
      if (last !== undefined) last.text += ` ${line}`;
    } else {
      found.push({ line: first + index, text: line, kind });
      open = true;
    }
  }
  return found.map((one) => ({ ...one, text: plain(one.text) }));
}

function markdown(text: string): Prose[] {
  let fenced = false;
  const lines = text.split('\n').map((line) => {
    if (/^\s*(```|~~~)/.test(line)) {
      fenced = !fenced;
      return '';
    }
    return fenced || /^\s*\||^#|^\s*<|^ {4,}\S/.test(line) ? '' : line.replace(/^\s*> ?/, '');
  });
  return paragraphs(lines, 1, 'doc');
}

function typescript(path: string, text: string): Prose[] {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const ranges = new Map<number, ts.CommentRange>();
  const visit = (node: ts.Node) => {
    const found = [
      ...(ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(text, node.getEnd()) ?? []),
    ];
    for (const range of found) ranges.set(range.pos, range);
    // Comments inside of text are text.
    if (!ts.isTemplateExpression(node) && !ts.isJsxText(node))
      for (const child of node.getChildren(tree)) visit(child);
  };
  visit(tree);
  const lineOf = (at: number) => tree.getLineAndCharacterOfPosition(at).line + 1;
  const comments = [...ranges.values()]
    .sort((a, b) => a.pos - b.pos)
    .map((range) => ({
      line: lineOf(range.pos),
      end: lineOf(range.end),
      text: text.slice(range.pos, range.end),
    }));
  const prose = joinLines(comments).flatMap(({ line, lines }) => paragraphs(lines, line, 'comment'));
  return [...prose, ...messages(path, tree)];
}

/** Texts of at least this many words are read by people: messages in the product, titles in tests. */
const MESSAGE_WORDS = 4;

function messages(path: string, tree: ts.SourceFile): Prose[] {
  const found: Prose[] = [];
  const visit = (node: ts.Node) => {
    const text = textOf(node);
    const counts = path.startsWith('test/')
      ? isTitle(node)
      : !ts.isImportDeclaration(node.parent) && !isCode(node);
    if (text !== null && counts && text.trim().split(/\s+/).length >= MESSAGE_WORDS)
      found.push({
        line: tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1,
        text: plain(text),
        kind: 'message',
      });
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(tree, visit);
  return found;
}

/** Substitutions count as one word; null: the node is no text. */
function textOf(node: ts.Node): string | null {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return null;
  return node.head.text + node.templateSpans.map((span) => `X${span.literal.text}`).join('');
}

/** A text in another language has a comment with its name before it. */
function isCode(node: ts.Node): boolean {
  return /\/\* (sh|sql) \*\/\s*$/.test(node.getFullText().slice(0, node.getLeadingTriviaWidth()));
}

/** The first argument of `it(…)`, `it.each(…)(…)`, `describe(…)` or `test(…)`. */
function isTitle(node: ts.Node): boolean {
  const call = node.parent;
  return (
    ts.isCallExpression(call) &&
    call.arguments[0] === node &&
    /^(it|describe|test)\b/.test(call.expression.getText())
  );
}

interface Comment {
  readonly line: number;
  readonly end: number;
  readonly text: string;
}

/** `//` lines that follow each other are one comment. */
function joinLines(comments: readonly Comment[]): { line: number; lines: string[] }[] {
  const found: { line: number; end: number; lines: string[]; slashes: boolean }[] = [];
  for (const { line, end, text } of comments) {
    const slashes = text.startsWith('//');
    if (/^\/\/\/? ?(<reference|@ts-)|biome-ignore|^\/\*\*? @type/.test(text)) continue;
    const lines = slashes
      ? [text.slice(2)]
      : text
          .slice(2, -2)
          .split('\n')
          .map((one) => one.replace(/^\s*\*+ ?/, '').replace(/^@\w+ (\{[^}]*\} )?/, ''));
    const last = found.at(-1);
    if (slashes && last?.slashes === true && last.end === line - 1) {
      last.lines.push(...lines);
      last.end = end;
    } else found.push({ line, end, lines, slashes });
  }
  return found;
}

function python(text: string): Prose[] {
  const docstrings = [...text.matchAll(/^[ \t]*"""([\s\S]*?)"""/gm)].flatMap((match) =>
    paragraphs((match[1] ?? '').split('\n'), text.slice(0, match.index).split('\n').length, 'comment'),
  );
  return [...docstrings, ...hashComments(text)];
}

function hashComments(text: string): Prose[] {
  const lines = text.split('\n').map((line) => /^\s*#(?![!\w]) ?(.*)$/.exec(line)?.[1] ?? '');
  return paragraphs(lines, 1, 'comment');
}

/** The files whose prose counts, as git knows them. */
export function proseFiles(paths: readonly string[] = []): string[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...paths],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  );
  return listed
    .split('\n')
    .filter((path) => /\.(ts|mts|mjs|js|py|md|yaml|service|timer|sh)$/.test(path))
    .filter((path) => path !== 'test/style/language.ts');
}

export function readFaults(paths: readonly string[]): Fault[] {
  return paths.flatMap((path) => {
    try {
      return faultsIn(path, readFileSync(join(ROOT, path), 'utf8'));
    } catch (error) {
      // Deleted, and git does not know yet.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}

if (import.meta.main) {
  const faults = readFaults(proseFiles(process.argv.slice(2)));
  for (const { path, line, what } of faults) console.log(`${path}:${line} ${what}`);
  console.log(`${faults.length} faults`);
}
