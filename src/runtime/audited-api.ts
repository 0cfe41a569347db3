/** The supervisor with an audit: each change by a person or program is written to the audit file, with its outcome. */

import type { CleanupView } from '../api/cleanup-api.ts';
import type { SessionView } from '../api/session-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import type { Actor, Session } from '../core/model/session.ts';
import { isEnded, workerOf } from '../core/model/session.ts';
import { processOf } from '../core/model/worker.ts';
import { CurfewError } from '../lib/errors.ts';
import type { Audit, AuditEntry } from '../ports/audit.ts';

/**
 * Audits releases, cleanups that end a process, drains and reloads. Dispatches, metadata and keep-alives are not audited:
 * programs send them at the rate of calls, and the session shows their result.
 */
export function audited(
  api: SupervisorApi,
  audit: Audit,
  find: (id: string) => Session | null,
): SupervisorApi {
  const target = (view: SessionView) => ({ ...identityOf(find(view.id)), ...targetOf(view) });
  const withAudit = <T>(
    entry: Pick<AuditEntry, 'action' | 'request'> & { by: Actor },
    work: () => Promise<T>,
    targets: (value: T) => readonly object[],
  ) => {
    const { by, action, request } = entry;
    const who = { actor: by.name, verified: by.kind === 'token', source: sourceOf(by) };
    return isPerson(by) ? note({ audit, action, request, who }, work, targets) : work();
  };
  return {
    ...bound(api),
    release: (id, by, detail) =>
      withAudit(
        { action: 'release', by, request: { id, detail } },
        () => api.release(id, by, detail),
        (one) => [target(one)],
      ),
    releaseMany: (request, by) =>
      request.dryRun
        ? api.releaseMany(request, by)
        : withAudit(
            { action: 'release_many', by, request },
            () => api.releaseMany(request, by),
            (all) => all.map(target),
          ),
    cleanup: (request, by) =>
      request.dryRun
        ? api.cleanup(request, by)
        : withAudit({ action: 'cleanup', by, request }, () => api.cleanup(request, by), cleanupTargets),
    drain: (timeoutMs, by) =>
      withAudit(
        { action: 'drain', by, request: { timeoutMs } },
        () => api.drain(timeoutMs, by),
        () => [],
      ),
    undrain: (by) =>
      api.capacity().draining === null
        ? api.undrain(by)
        : withAudit(
            { action: 'undrain', by, request: {} },
            () => api.undrain(by),
            () => [],
          ),
    reload: (by) =>
      withAudit(
        { action: 'reload', by, request: {} },
        () => api.reload(by),
        (view) => [view],
      ),
  };
}

type Asked = Pick<AuditEntry, 'action' | 'request'> & {
  readonly audit: Audit;
  readonly who: Pick<AuditEntry, 'actor' | 'verified' | 'source'>;
};

/** Writes the entry before the answer goes out, also for a refusal. */
export async function note<T>(
  { audit, who, action, request }: Asked,
  work: () => Promise<T>,
  targets: (value: T) => readonly object[],
): Promise<T> {
  const entry = { action, ...who, request };
  try {
    const value = await work();
    await audit.write({ ...entry, targets: targets(value), outcome: 'done', error: null });
    return value;
  } catch (error) {
    const text = error instanceof CurfewError ? `${error.code}: ${error.message}` : String(error);
    await audit.write({ ...entry, targets: [], outcome: 'refused', error: text });
    throw error;
  }
}

/** The supervisor's own changes are in its log. A signal comes from a person. */
function isPerson({ kind, name }: Actor): boolean {
  return kind !== 'supervisor' || name.startsWith('SIG');
}

/** `socket`: the CLI states the user's name. Because: Node cannot ask the kernel for the user at the other end of a Unix socket. */
function sourceOf({ kind }: Actor): AuditEntry['source'] {
  switch (kind) {
    case 'token':
      return 'tcp';
    case 'local':
      return 'socket';
    case 'supervisor':
      return 'signal';
  }
}

function targetOf({ id, pid, state }: SessionView): object {
  return { session: id, pid, state };
}

/** A pid alone is not enough, because a later process may get the same pid. */
function identityOf(session: Session | null): object {
  const process = session === null ? null : processOf(workerOf(session));
  if (process === null) return {};
  const { pid, startTicks, bootId } = process.main ?? process.shim;
  return { pid, startTicks, bootId };
}

/** The entry for a signal that ends the supervisor. `ending` says what happens to the calls. */
export function stopEntry(signal: string, ending: string, sessions: readonly Session[]): AuditEntry {
  const open = ending === 'leave' ? [] : sessions.filter((one) => !isEnded(one));
  return {
    action: 'stop',
    actor: signal,
    verified: false,
    source: 'signal',
    request: { ending },
    targets: open.map((one) => ({ session: one.spec.id, ...identityOf(one) })),
    outcome: 'done',
    error: null,
  };
}

export function cleanupTargets({ verdicts }: CleanupView): readonly object[] {
  return verdicts
    .filter((one) => one.action === 'kill')
    .map(({ pid, startedAt, kind, session, tree, outcome }) => ({
      pid,
      startedAt,
      kind,
      session,
      tree,
      outcome,
    }));
}

/** Because: a spread of an object drops the methods of its class. Here each method keeps its `this`. */
function bound(api: SupervisorApi): SupervisorApi {
  return {
    dispatch: (request, by) => api.dispatch(request, by),
    get: (id) => api.get(id),
    list: (query) => api.list(query),
    release: (id, by, detail) => api.release(id, by, detail),
    releaseMany: (request, by) => api.releaseMany(request, by),
    keepAlive: (id, forMs, by) => api.keepAlive(id, forMs, by),
    setMetadata: (id, metadata, by) => api.setMetadata(id, metadata, by),
    wait: (id, until, boundMs) => api.wait(id, until, boundMs),
    logPaths: (id) => api.logPaths(id),
    agentMetrics: (agent) => api.agentMetrics(agent),
    cleanup: (request, by) => api.cleanup(request, by),
    drain: (timeoutMs, by) => api.drain(timeoutMs, by),
    undrain: (by) => api.undrain(by),
    reload: (by) => api.reload(by),
    capacity: () => api.capacity(),
    ready: () => api.ready(),
    webhook: (rawBody, authorization) => api.webhook(rawBody, authorization),
    sessionToken: (id) => api.sessionToken(id),
    sessionOfToken: (token) => api.sessionOfToken(token),
  };
}
