/**
 * Tells the main process of the error that ended the job's entry function. The framework tells only that the job crashed.
 * This needs Node 22.15; on older versions the report to curfew has no text.
 */
import * as modules from 'node:module';
import { note } from '../note.mjs';
import { adaptCompiled } from './compile-hook.mjs';
import { tellMainProcess } from './main-channel.mjs';

/** The framework's module of the process of a job. */
export const JOB_MODULE = /\/@livekit\/agents\/dist\/ipc\/job_proc_lazy_main\.c?js$/;
const ENTRY = /\breturn func\(ctx\);/;
const KEY = 'curfew.entry';
const UNKNOWN =
  'curfew: @livekit/agents stays unchanged: entry-errors: job_proc_lazy_main has no call func(ctx), so an error of the entry function has no text (tested with @livekit/agents 1.9.0)';
/** A CommonJS module passes here twice. */
let isSaid = false;
const TEXT_CHARS = 2000;
const FRAMES = 5;

export function reportEntryErrors() {
  globalThis[Symbol.for(KEY)] = runEntry;
  modules.registerHooks?.({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!JOB_MODULE.test(url) || !loaded.source) return loaded;
      return { ...loaded, source: withReport(Buffer.from(loaded.source).toString()) };
    },
  });
  adaptCompiled(JOB_MODULE, (_path, source) => withReport(source));
}

function withReport(source) {
  const call = `return globalThis[Symbol.for('${KEY}')](func, ctx);`;
  const isUnknown = !ENTRY.test(source) && !source.includes(call);
  if (isUnknown && !isSaid) note(UNKNOWN);
  isSaid ||= isUnknown;
  return source.replace(ENTRY, call);
}

async function runEntry(entry, ctx) {
  try {
    return await entry(ctx);
  } catch (error) {
    tellMain(error);
    throw error;
  }
}

/** The agent's own error goes on, whatever becomes of the report. */
function tellMain(error) {
  try {
    tellMainProcess({ case: 'curfewEntryError', value: describe(error) });
  } catch (failure) {
    note(`curfew: the main process does not know the error of the entry function: ${failure}`);
  }
}

/** Type and message, then the last frames. A thrown text has no frames. */
function describe(error) {
  const lines = `${error?.stack ?? error}`.split('\n');
  const frames = lines.filter((line) => /^ +at /.test(line)).slice(0, FRAMES);
  const what = error instanceof Error ? `${error.name}: ${error.message}` : `${error}`;
  const where = frames.map((line) => line.trim().replace(/^at /, '')).join(' < ');
  return `the entrypoint raised ${what}${where === '' ? '' : `; at ${where}`}`.slice(0, TEXT_CHARS);
}
