/**
 * Attaches curfew to each AgentSession when it starts, unless CURFEW_ATTACH says otherwise. The attachment only informs: it
 * never throws into the framework, and it takes over no decision of the framework.
 */
import * as modules from 'node:module';
import { note } from '../note.mjs';
import { addHook, MODULE } from './attach-source.mjs';
import { adaptCompiled } from './compile-hook.mjs';
import { JobReport, watchKits } from './job-report.mjs';

const { CURFEW_ATTACH, CURFEW_SOCKET, CURFEW_WORKER, CURFEW_TOKEN } = process.env;

export function attachToSessions() {
  if (CURFEW_ATTACH !== 'auto' || !CURFEW_SOCKET || !CURFEW_WORKER || !CURFEW_TOKEN) return;
  const job = new JobReport();
  watchKits(job);
  globalThis[Symbol.for('curfew.launch')] = {
    adaptSession: (AgentSession) => {
      quietly(() => attachAtStart(AgentSession, job));
    },
    countTools: (performToolExecutions) => countTools(performToolExecutions, job),
  };
  addSourceHooks();
}

/** Node 22.15 and later have hooks on this thread. Before, hooks for ES modules run on a thread of their own. */
function addSourceHooks() {
  if (modules.registerHooks !== undefined)
    modules.registerHooks({
      load(url, context, nextLoad) {
        const loaded = nextLoad(url, context);
        if (!MODULE.test(url) || !url.endsWith('.js') || !loaded.source) return loaded;
        return { ...loaded, source: addHook(url, Buffer.from(loaded.source).toString()) };
      },
    });
  else modules.register?.(new URL('./attach-source.mjs', import.meta.url));
  adaptCompiled(MODULE, (path, source) => (path.endsWith('.cjs') ? addHook(path, source) : source));
}

function attachAtStart(AgentSession, job) {
  const { start } = AgentSession.prototype;
  if (typeof start !== 'function') {
    note('curfew: attach: off: AgentSession has no start (tested with @livekit/agents 1.9.0)');
    return;
  }
  AgentSession.prototype.start = async function startAttached(...args) {
    const opened = quietly(() => job.opened(this));
    try {
      return await Reflect.apply(start, this, args);
    } catch (error) {
      if (opened) quietly(() => job.notStarted(this));
      throw error;
    }
  };
}

/** Most versions report a tool only at its end. A running tool counts as activity. */
function countTools(performToolExecutions, job) {
  return function performCounted(...args) {
    const performed = Reflect.apply(performToolExecutions, this, args);
    quietly(() => {
      const { result } = performed[0];
      job.toolsRunning(1);
      const ended = () => job.toolsRunning(-1);
      result.then(ended, ended);
    });
    return performed;
  };
}

/** True: it worked. */
function quietly(work) {
  try {
    work();
    return true;
  } catch (error) {
    note(`curfew: attach: ${error} (tested with @livekit/agents 1.9.0)`);
    return false;
  }
}
