/** Reads the config file. Each error names the line, the key, the value and the accepted values. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve as absolute, dirname, isAbsolute, join } from 'node:path';
import { closest } from 'fastest-levenshtein';
import type { Document, Node } from 'yaml';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import type { ApiToken } from '../../api/supervisor-api.ts';
import type { LiveKitKeys, Profile } from '../../core/model/profile.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { Config } from './config.ts';
import { DEFAULT_CONFIG, tempDirOf } from './config.ts';
import type { AgentFile, ConfigFile } from './config-schema.ts';
import { fileSchema, socketSchema, toProfile } from './config-schema.ts';

export type Env = Readonly<Record<string, string | undefined>>;
type Path = readonly PropertyKey[];

/** Known keys that only later versions support. */
const LATER = ['run_as', 'queue_by'];
const SECRET_KEYS = ['api_key', 'api_secret', 'token'];

/** Throws invalid_config. Secrets may come from the environment or from files. */
export function loadConfig(path: string, env: Env): Config {
  return parseConfig(readText(path, 'the config'), { path, env });
}

export function parseConfig(text: string, { path, env }: { path: string; env: Env }): Config {
  return resolve(parseAs(fileSchema, text, path), { env, folder: dirname(path) });
}

/** Reads only the socket path. So commands reach a running supervisor even if its file has other errors by now. */
export function loadSocket(path: string): string {
  const { listen } = parseAs(socketSchema, readText(path, 'the config'), path);
  return socketPath(listen.socket, dirname(path));
}

function parseAs<T>(schema: z.ZodType<T>, text: string, path: string): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [broken] = document.errors;
  if (broken !== undefined)
    throw invalid(`${path}:${broken.linePos?.[0].line ?? 1}: not valid YAML: ${faultOf(broken.message)}`);
  const given = withoutEmptySections(readValue(document, path));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  throw invalid(describeAll(parsed.error.issues, { path, given, document, lines }).join('\n'));
}

/** Drops the line number and the excerpt that YAML appends to its message. */
function faultOf(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/ at line \d+, (column \d+):?$/, ' ($1)');
}

function readValue(document: Document, path: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    // For example an alias without its anchor, or too many aliases.
    throw invalid(`${path}: not valid YAML: ${messageOf(error)}`);
  }
}

/** YAML reads a section without active keys as null. Such a section counts as absent. */
function withoutEmptySections(given: unknown): unknown {
  if (given === null || typeof given !== 'object' || Array.isArray(given)) return given;
  const isEmpty = (key: string, value: unknown) => value === null && Object.hasOwn(fileSchema.shape, key);
  return Object.fromEntries(Object.entries(given).filter(([key, value]) => !isEmpty(key, value)));
}

interface Source {
  readonly path: string;
  readonly given: unknown;
  readonly document: Document;
  readonly lines: LineCounter;
}

function invalid(detail: string): CurfewError {
  return new CurfewError('invalid_config', detail);
}

/** In the order of the file. */
function describeAll(issues: readonly z.core.$ZodIssue[], source: Source): string[] {
  const texts = issues.flatMap((issue) => describe(issue, source).split('\n'));
  const lineOf = (text: string) => Number(/^\d+/.exec(text.slice(source.path.length + 1))?.[0] ?? 0);
  // Because: a misspelt key is unknown, and its right name is missing. One of the two texts is enough.
  const meant = texts.flatMap(
    (text) => /: ([^ ]*?)[^. ]+: unknown key; did you mean "(.+)"\?$/.exec(text)?.slice(1, 3).join('') ?? [],
  );
  return texts
    .filter((text) => !meant.some((key) => text.endsWith(`: ${key}: is missing`)))
    .toSorted((one, other) => lineOf(one) - lineOf(other));
}

function describe(issue: z.core.$ZodIssue, source: Source): string {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => unknownKey([...issue.path, key], source)).join('\n');
  // zod reports a wrong key at its map. The reader needs the message about the key itself.
  const inner = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  const where = `${locate(issue.path, source)}: ${dotted(issue.path)}:`;
  const value = valueAt(source.given, issue.path);
  if (value === undefined) return `${where} is missing`;
  return `${where} ${issue.code === 'invalid_key' ? '' : showValue(issue.path, value)}${inner}`;
}

function unknownKey(path: Path, source: Source): string {
  const key = String(path.at(-1));
  const where = `${locate(path, source)}: ${dotted(path)}: unknown key`;
  if (LATER.includes(key)) return `${where}; it is not supported by this version`;
  const known = knownKeys(path.slice(0, -1));
  return known.length === 0 ? where : `${where}; did you mean "${closest(key, known)}"?`;
}

/** The keys that the schema has at this path. */
function knownKeys(path: Path): string[] {
  let schema: unknown = fileSchema;
  for (const part of path) schema = child(unwrap(schema), part);
  const found = unwrap(schema);
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

function child(schema: unknown, part: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return (schema.shape as Record<PropertyKey, unknown>)[part];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

function unwrap(schema: unknown): unknown {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable
  )
    return unwrap(schema.unwrap());
  return schema;
}

function valueAt(given: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      value !== null && typeof value === 'object' && Object.hasOwn(value, key)
        ? (value as Record<PropertyKey, unknown>)[key]
        : undefined,
    given,
  );
}

/** Shows no part of a list or map, because a secret may be inside, maybe under a misspelled key. */
function showValue(path: Path, value: unknown): string {
  if (value !== null && typeof value === 'object') return '';
  if (SECRET_KEYS.includes(String(path.at(-1)))) return '(a secret) ';
  const text = JSON.stringify(value) ?? 'nothing';
  return `${text.length > 60 ? `${text.slice(0, 60)}…${text.endsWith('"') ? '"' : ''}` : text} `;
}

function dotted(path: Path): string {
  return path.length === 0 ? 'the file' : path.map(String).join('.');
}

/** `FILE:LINE` of the path, or of its nearest parent that is in the file. */
function locate(path: Path, { path: file, document, lines }: Source): string {
  for (let length = path.length; length > 0; length--) {
    const offset = nodeAt(document, path.slice(0, length))?.range?.[0];
    if (offset !== undefined) return `${file}:${lines.linePos(offset).line}`;
  }
  return `${file}:1`;
}

/** In a map the node of the key, because its value may begin on a later line. In a list the element. */
function nodeAt(document: Document, path: Path): Node | undefined {
  const parent = document.getIn(path.slice(0, -1), true);
  if (!isMap(parent)) return document.getIn(path, true) as Node | undefined;
  const name = String(path.at(-1));
  const keys = parent.items.map((pair) => pair.key).filter(isScalar);
  return keys.find((key) => String(key.value) === name);
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CurfewError('invalid_config', `${what} "${path}" cannot be read: ${messageOf(error)}`, {
      hint: 'Name a file that exists and that this user may read.',
    });
  }
}

/** The surroundings of a config file. Relative paths begin at `folder`. */
interface Origin {
  readonly env: Env;
  readonly folder: string;
}

/** A systemd credential wins over a relative path. In its name, `_` stands for each `/`. */
function readSecret(path: string, what: string, { env, folder }: Origin): string {
  if (isAbsolute(path)) return readText(path, what).trim();
  const credential = join(env.CREDENTIALS_DIRECTORY ?? '', path.replaceAll('/', '_'));
  const isGiven = env.CREDENTIALS_DIRECTORY !== undefined && existsSync(credential);
  return readText(isGiven ? credential : join(folder, path), what).trim();
}

function resolve(file: ConfigFile, origin: Origin): Config {
  const base = DEFAULT_CONFIG;
  const agents = Object.entries(file.agents);
  const { limits } = file;
  const perAgent = agents.flatMap(([name, one]) =>
    one.sessions === null ? [] : [[name, one.sessions] as const],
  );
  return {
    livekit: resolveLiveKit(file.livekit, origin),
    listen: {
      socket: socketPath(file.listen.socket, origin.folder),
      http: file.listen.http === undefined ? base.listen.http : file.listen.http,
    },
    stateDir: absolute(origin.folder, file.state_dir ?? base.stateDir),
    tempDir: file.temp_dir ?? tempDirOf(origin.env),
    tempMaxBytes: file.temp_max,
    limits: {
      sessions: limits.sessions,
      perUser: limits.per_user,
      perAgent: Object.fromEntries(perAgent),
      startRatePerSecond: limits.start_rate,
      queue: limits.queue,
      queueTimeoutMs: limits.queue_timeout,
      cpu: limits.cpu,
      memoryFree: limits.memory_free,
    },
    agents: Object.fromEntries(agents.map(([name, one]) => [name, resolveProfile(name, one, origin)])),
    agentLiveKit: Object.fromEntries(agents.flatMap(([name, one]) => agentLiveKit(name, one, origin))),
    unnamedAccess: agents.flatMap(([name, { protocol, livekit_access }]) =>
      protocol === 'livekit' && livekit_access === undefined ? [name] : [],
    ),
    cgroups: file.cgroups,
    sweep: {
      unmanaged: file.sweep.unmanaged ?? base.sweep.unmanaged,
      graceMs: file.sweep.grace ?? base.sweep.graceMs,
    },
    presence: { pollEveryMs: file.presence.poll_interval ?? base.presence.pollEveryMs },
    shutdown: {
      timeoutMs: file.shutdown.timeout ?? base.shutdown.timeoutMs,
      onTerm: file.shutdown.on_term ?? base.shutdown.onTerm,
    },
    retention: {
      sessionsMs: file.retention.sessions ?? base.retention.sessionsMs,
      logsMs: file.retention.logs ?? base.retention.logsMs,
      logsTotalBytes: file.retention.logs_total ?? base.retention.logsTotalBytes,
    },
    log: { level: file.log.level ?? base.log.level, format: file.log.format ?? base.log.format },
    logs: { forward: file.logs.forward ?? null },
    api: { tokens: (file.api.tokens ?? []).map((one) => resolveToken(one, origin)) },
  };
}

/** A relative env_file begins at the folder of the config file, as secrets do. */
function resolveProfile(name: string, file: AgentFile, { folder }: Origin): Profile {
  return toProfile(name, file, {
    envFile: file.env_file === null ? null : absolute(folder, file.env_file),
  });
}

/** An agent's keys never come from the supervisor's environment, but may be credentials of systemd. */
function agentLiveKit(name: string, file: AgentFile, { folder, env }: Origin): [string, LiveKitKeys][] {
  const { CREDENTIALS_DIRECTORY } = env;
  const origin = { folder, env: { CREDENTIALS_DIRECTORY } };
  const keys = resolveLiveKit(file.livekit ?? {}, origin, `agents.${name}.livekit`);
  return keys === null ? [] : [[name, keys]];
}

function socketPath(given: string | undefined, folder: string): string {
  return absolute(folder, given ?? DEFAULT_CONFIG.listen.socket);
}

/** LiveKit's address and keys from the file, else from the environment. `null`: neither has any of them. */
export function resolveLiveKit(
  file: ConfigFile['livekit'],
  origin: Origin,
  at = 'livekit',
): Config['livekit'] {
  const { env } = origin;
  const secret = (value: string | undefined, path: string | undefined, what: string) =>
    value ?? (path === undefined ? undefined : readSecret(path, what, origin));
  const url = file.url ?? env.LIVEKIT_URL;
  const apiKey = secret(file.api_key, file.api_key_file, `${at}.api_key_file`) ?? env.LIVEKIT_API_KEY;
  const apiSecret =
    secret(file.api_secret, file.api_secret_file, `${at}.api_secret_file`) ?? env.LIVEKIT_API_SECRET;
  if (!url && !apiKey && !apiSecret) return null;
  if (url && apiKey && apiSecret) return { url, apiKey, apiSecret };
  const lacking = [url ? '' : 'url', apiKey ? '' : 'api_key', apiSecret ? '' : 'api_secret'].filter(
    (one) => one !== '',
  );
  const also = at === 'livekit' ? ' (or LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET)' : '';
  throw invalid(
    `${at}: ${lacking.join(' and ')} missing; give all of url, api_key and api_secret${also}, or none`,
  );
}

type TokenFile = NonNullable<ConfigFile['api']['tokens']>[number];

function resolveToken({ name, token, token_file, scopes }: TokenFile, origin: Origin): ApiToken {
  return { name, token: token ?? readSecret(token_file ?? '', `the token file of ${name}`, origin), scopes };
}
