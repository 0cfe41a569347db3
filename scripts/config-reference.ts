/** docs/reference/config.md: every key with its default and meaning from the example config, and with what the schema takes. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { fileSchema } from '../src/adapters/config/config-schema.ts';
import { FIXED } from '../src/adapters/config/live-config.ts';
import { LIMIT_NAMES } from './limit-names.ts';
import { code, page, table } from './markdown.ts';

const EXAMPLE = new URL('../config/curfew.example.yaml', import.meta.url);

interface Key {
  /** As in `agents.NAME.ladder.term`. */
  readonly path: readonly string[];
  /** null: it has none, and is commented out in the example. */
  readonly initial: string | null;
  readonly comment: string;
}

const KEY_LINE = /^(?<indent> *)(?<off>#?)(?<item>- | {2})?(?<name>[a-z_]+):(?: (?<value>.*))?$/;
const COMMENT_LINE = /^ *# (?<text>\S.*)$/;

/** Throws for a key without a comment of its own. */
function readKeys(text: string): Key[] {
  const keys = new Map<string, Key>();
  const parents: { indent: number; name: string }[] = [];
  let comment: string[] = [];
  for (const line of text.split('\n')) {
    const said = COMMENT_LINE.exec(line)?.groups?.text;
    const found = KEY_LINE.exec(line)?.groups;
    if (said !== undefined) comment.push(said);
    else if (found !== undefined) {
      const indent = (found.indent ?? '').length + (found.item ?? '').length;
      while ((parents.at(-1)?.indent ?? -1) >= indent) parents.pop();
      parents.push({ indent, name: found.name ?? '' });
      const path = parents.map((one) => one.name);
      const initial = found.off === '#' ? null : (found.value ?? '');
      add(keys, { path, initial, comment: comment.join(' ') });
      comment = [];
    } else comment = [];
  }
  return [...keys.values()];
}

function add(keys: Map<string, Key>, key: Key): void {
  const name = key.path.join('.');
  if (name === 'agents.default' || (key.comment === '' && keys.has(name))) return;
  if (key.comment === '') throw new Error(`config/curfew.example.yaml: ${name} has no comment`);
  keys.set(name, key);
}

/** The schema of a key, and whether null is allowed. */
function schemaOf(path: readonly string[]): { schema: unknown; nullable: boolean } {
  let schema: unknown = fileSchema;
  let nullable = false;
  for (const part of path) {
    const parent = unwrap(schema).schema;
    const inner = parent instanceof z.ZodArray ? unwrap(parent.element).schema : parent;
    if (inner instanceof z.ZodRecord) schema = inner.valueType;
    else if (inner instanceof z.ZodObject) schema = (inner.shape as Record<string, unknown>)[part];
    ({ schema, nullable } = unwrap(schema));
  }
  return { schema, nullable };
}

function unwrap(schema: unknown): { schema: unknown; nullable: boolean } {
  const isWrapper =
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  if (isWrapper) return unwrap(schema.unwrap());
  if (schema instanceof z.ZodNullable) return { ...unwrap(schema.unwrap()), nullable: true };
  return { schema, nullable: false };
}

/** No key takes these, so that its refusal says what it takes: first a text, then a value of no type. */
const WRONG = ['?', Symbol('wrong')];
/** Their refusal names one wrong value and not what they take. */
const TAKES: Readonly<Record<string, string>> = {
  env: 'a map of names to texts, numbers or booleans',
  url: 'a URL that begins with ws://, wss://, http:// or https://',
  rooms: 'text without control characters, or `null`',
  side_rooms: 'text with {room} and more, such as {room}-human-agent, or `null`',
  name: 'letters, digits, ".", "_", ":" and "-"; the first is a letter or digit',
  scopes: 'a list of `read`, `dispatch`, `release`, `admin`',
  token: 'text of at least 16 characters',
};

function takes(path: readonly string[]): string {
  const known = TAKES[path.at(-1) ?? ''];
  if (known !== undefined) return known;
  const { schema, nullable } = schemaOf(path);
  if (!(schema instanceof z.ZodType)) throw new Error(`${path.join('.')}: the schema does not know this key`);
  const refusals = WRONG.map((value) => schema.safeParse(value).error?.issues[0]?.message);
  const said = refusals.find((one) => one !== undefined) ?? '';
  return `${short(said)}${nullable ? ', or `null`' : ''}`;
}

function short(refusal: string): string {
  return refusal
    .replace(/^must (be |have )?/, '')
    .replace(/duration with a unit, such as \w+, from/, 'duration from')
    .replace(/^one of (.*)$/, (_all, names: string) => names.split(', ').map(code).join(', '))
    .replace(/^true or false$/, '`true`, `false`')
    .replace(/(?<!`)\boff\b/, '`off`');
}

/** A range in a comment must be the schema's; the table shows it in its own column. */
function meaning({ path, comment }: Key): string {
  const range = / ?Range: (?<least>\w+) to (?<most>\w+)\./.exec(comment);
  if (range === null) return comment;
  const { least = '', most = '' } = range.groups ?? {};
  const taken = takes(path);
  if (!taken.includes(`from ${least} to ${most}`))
    throw new Error(
      `config/curfew.example.yaml: ${path.join('.')} takes ${taken}, its comment says ${range[0]}`,
    );
  return comment.replace(range[0], '');
}

function row(key: Key, from: number): string[] {
  const name = key.path.slice(from).join('.').replace('tokens.', 'tokens[].');
  const initial = key.initial === null ? 'none' : code(key.initial);
  return [code(name), initial, takes(key.path), meaning(key)];
}

const HEAD = ['key', 'default', 'takes', 'what it does'];
const FIXED_KEYS: readonly string[] = Object.values(FIXED);

function applied(section: string): string {
  if (section === 'agents') return 'A reload applies a change to new sessions.';
  return FIXED_KEYS.includes(section) ? 'A change needs a restart.' : 'A reload applies a change.';
}

function sectionOf(name: string, keys: readonly Key[]): string[] {
  const [first] = keys;
  if (first === undefined) return [];
  if (keys.length === 1) return [`## ${code(name)}`, '', applied(name), '', ...table(HEAD, [row(first, 0)])];
  const begun = name === 'agents' ? 2 : 1;
  const rows = keys.filter((one) => one.path.length > begun && one.initial !== '');
  const title = name === 'agents' ? 'agents.NAME' : name;
  const body = table(
    HEAD,
    rows.map((one) => row(one, begun)),
  );
  return [`## ${code(title)}`, '', `${first.comment} ${applied(name)}`, '', ...body];
}

function overrides(): string[] {
  const rows = Object.entries(LIMIT_NAMES).map(([limit, { config, option }]) => [
    code(config),
    code(`limits.${limit}`),
    code(option),
  ]);
  return [
    '## What a dispatch may override',
    '',
    'The API takes milliseconds, except for `errorLimit`. An override must be within the range of its key.',
    '',
    ...table(['key of the agent', 'in the API', 'on the command line'], rows),
  ];
}

const INTRO = [
  'curfew reads one YAML file: `--config FILE`, or the file that CURFEW_CONFIG names.',
  '',
  '- `curfew config check FILE` checks the file and starts nothing.',
  '- `curfew reload` (or SIGHUP, or `systemctl reload curfew`) reads it again. With an error the old config stays.',
  '- A duration has a unit: `500ms`, `30s`, `10m`, `2h`, `7d`, `1h30m`.',
  '- A size has a unit: B, KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).',
  '- An unknown key is an error. The error names the closest known key.',
  '- A relative path of a secret, of `listen.socket` or of `state_dir` starts at the folder of the file.',
  '',
  'The same keys as a file to copy: [config/curfew.example.yaml](../../config/curfew.example.yaml).',
];

export function configReference(): string {
  const keys = readKeys(readFileSync(EXAMPLE, 'utf8'));
  const sections = Map.groupBy(keys, (one) => one.path[0] ?? '');
  return page('Config', 'config/curfew.example.yaml and src/adapters/config/config-schema.ts', [
    INTRO,
    ...[...sections].map(([name, own]) => sectionOf(name, own)),
    overrides(),
  ]);
}
