/**
 * Reads the text of an `env_file`. The format is that of python-dotenv, without its `${NAME}`, and with the backticks of dotenv
 * for Node. A text that the format does not have is an error with its line, because a wrong key would show up only in a call.
 * No error shows a value or a part of one. Source: python-dotenv 1.2, parser.py; dotenv 17, main.js.
 */
import { ENV_NAME } from './env-name.ts';

const BLANK = /(?:[^\S\r\n]*(?:#[^\r\n]*)?(?:\r\n|\n|\r))*[^\S\r\n]*(?:#[^\r\n]*$)?/y;
const NAME = /(?:export[^\S\r\n]+)?([A-Za-z_][A-Za-z0-9_.-]*)[^\S\r\n]*=/y;
const NO_NAME = 'has no valid name: use letters, digits and _, and quotes around a value of several lines';
const TO_QUOTE = /[^\S\r\n]*(?=['"`])/y;
const QUOTED = /'((?:\\'|[^'])*)'|"((?:\\[\s\S]|[^"\\])*)"|`([^`]*)`/y;
const UNQUOTED = /[^\r\n]*/y;
const END = /[^\S\r\n]*(?:#[^\r\n]*)?(?:\r\n|\n|\r|$)/y;
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Throws an Error that names the line. `mostBytes`: of a name and its value together. */
export function parseEnvText(text: string, mostBytes: number): Record<string, string> {
  const nul = text.indexOf('\0');
  if (nul !== -1) throw new Error(`line ${lineOf(text, nul)} has a NUL byte; save the file as UTF-8`);
  const found = new Map<string, string>();
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    at = match === null ? at : pattern.lastIndex;
    return match;
  };
  for (take(BLANK); at < text.length; take(BLANK)) {
    const start = at;
    const fail = (problem: string) => new Error(`line ${lineOf(text, start)} ${problem}`);
    const [, name] = take(NAME) ?? [];
    if (name === undefined) throw fail('is not NAME=value');
    // Because: a line of a secret with several lines may look like a name, so the error shows no such name.
    if (!ENV_NAME.test(name)) throw fail(NO_NAME);
    const value = take(TO_QUOTE) === null ? unquoted(take(UNQUOTED)) : quoted(take(QUOTED));
    if (value === null) throw fail('opens a quote that nothing closes');
    if (take(END) === null) throw fail('has more text after its closing quote');
    const bytes = Buffer.byteLength(name) + Buffer.byteLength(value);
    if (bytes > mostBytes)
      throw fail(`sets ${name} to ${bytes} bytes, and the kernel passes at most ${mostBytes}`);
    found.set(name, value);
  }
  return Object.fromEntries(found);
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split(/\r\n|\n|\r/).length;
}

function quoted(match: RegExpExecArray | null): string | null {
  if (match === null) return null;
  const [, single, double, back] = match;
  if (single !== undefined) return single.replace(/\\([\\'])/g, '$1');
  if (double !== undefined) return double.replace(/\\([\\'"abfnrtv])/g, (_, one) => ESCAPES[one] ?? one);
  return back ?? '';
}

/** A comment begins only after white space, so a password may have the character in it. */
function unquoted(match: RegExpExecArray | null): string {
  return (match?.[0] ?? '').replace(/\s+#.*/, '').trim();
}
