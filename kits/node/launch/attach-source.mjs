/** The lines that the launcher adds to two modules of the framework. Node also loads this file as a hook for ES modules. */
import { note } from '../note.mjs';

export const MODULE = /\/@livekit\/agents\/dist\/voice\/(agent_session|generation)\.c?js$/;

const ADDED = {
  agent_session: {
    needs: /^class AgentSession\b/m,
    lost: 'attach: off',
    line: 'globalThis[Symbol.for("curfew.launch")]?.adaptSession(AgentSession);',
  },
  generation: {
    needs: /^function performToolExecutions\b/m,
    lost: 'attach: running tools do not count as activity',
    line: 'performToolExecutions = globalThis[Symbol.for("curfew.launch")]?.countTools(performToolExecutions) ?? performToolExecutions;',
  },
};

/** The source stays unchanged when it lacks the name. */
export function addHook(path, source) {
  const { needs, lost, line } = ADDED[MODULE.exec(path)[1]];
  if (needs.test(source)) return `${source}\n;${line}\n`;
  note(`curfew: ${lost}: ${path} is unknown (tested with @livekit/agents 1.9.0)`);
  return source;
}

/** For Node before 22.15. */
export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  if (!MODULE.test(url) || !url.endsWith('.js') || !loaded.source) return loaded;
  return { ...loaded, source: addHook(url, Buffer.from(loaded.source).toString()) };
}
