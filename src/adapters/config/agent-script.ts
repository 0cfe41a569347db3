/** The agent's file, as the command of a profile names it. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { basename, extname, resolve } from 'node:path';
import type { Profile } from '../../core/model/profile.ts';
import { STAND_IN } from '../../lib/limits/livekit-limits.ts';

const SCRIPT = ['.py', '.pyc', '.js', '.mjs', '.cjs', '.ts', '.mts', '.cts', '.tsx'];
const INTERPRETER = /^(python|pypy|node|nodejs)[\d.]*$/;
/** Options with which the interpreter runs a module or a text, and no file. */
const WITHOUT_FILE = /^(-[a-zA-Z]*[cmep]|--eval|--print)$/;
/** A file of a program, and more behind a space. */
const JOINED = /\S\.(py|pyc|[cm]?[jt]s|tsx)\s+[\w-]/;
const IMPORTS = /^\s*(from|import)\s+livekit\b.*\bagents\b|["']@livekit\/agents["']/m;
/** Words of a program that serves calls. A program may also use the plugins of LiveKit Agents alone. */
const SERVES_CALLS = /\b(run_app|runApp|AgentServer|WorkerOptions|ServerOptions)\b/;

/** The place of the agent's file in the command; -1: there is none, for example behind a shell. */
export function scriptAt(command: readonly string[]): number {
  return command.findIndex((one) => SCRIPT.includes(extname(one)));
}

/** The beginning of the agent's file. Empty: there is none, or it cannot be read. */
export function scriptText({ command, cwd }: Profile): string {
  const script = command[scriptAt(command)];
  return script === undefined ? '' : readStart(resolve(cwd ?? '', script));
}

/** Two arguments that a missing comma made one. null: there are none, or a shell or an interpreter reads the text. */
export function joinedArguments({ command }: Profile): string | null {
  const joined = command.find((one) => JOINED.test(one));
  if (joined === undefined || command.some((one) => WITHOUT_FILE.test(one))) return null;
  const parts = joined.trim().split(/\s+/).join(', ');
  return `command: "${joined}" is one argument with a space; write ${parts} with a comma between`;
}

/** null: the file is there, or the command may find it elsewhere, as a wrapper does. */
export function missingScript({ command, cwd }: Profile): string | null {
  const at = scriptAt(command);
  const script = command[at];
  if (script === undefined || !INTERPRETER.test(basename(command[0] ?? ''))) return null;
  if (command.slice(1, at).some((one) => WITHOUT_FILE.test(one)) || existsSync(resolve(cwd ?? '', script)))
    return null;
  return `command: there is no file "${resolve(cwd ?? '', script)}"; correct the name, or set cwd to the folder of the file`;
}

/** A LiveKit agent that would get no call. */
export function unnamedFramework(profile: Profile): string | null {
  if (profile.protocol !== 'none') return null;
  const text = scriptText(profile);
  if (!IMPORTS.test(text) || !SERVES_CALLS.test(text)) return null;
  const script = profile.command[scriptAt(profile.command)];
  return `protocol: none, but "${script}" is written with LiveKit Agents. Such an agent gets no call of curfew. It may end with exit status 0, or register at LiveKit itself with keys of its own, such as those of a .env file. Use protocol livekit`;
}

function readStart(path: string): string {
  try {
    const file = openSync(path, 'r');
    try {
      const bytes = Buffer.alloc(STAND_IN.scriptBytes);
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
