/** The supervisor with an audit: whoever changes something through a face is written down, with what came of it. */
import type { SessionView, SupervisorApi } from '../api.ts';
import type { SweepView } from '../api-sweep.ts';
import type { Author } from '../core/session.ts';
import { CurfewError } from '../errors.ts';
import type { Audit, AuditEntry } from '../ports.ts';

/**
 * Releases, sweeps that end something, drains and reloads. Not: dispatches, metadata and keep-alives, which programs do at the rate
 * of calls and whose result the session itself shows.
 */
export function audited(api: SupervisorApi, audit: Audit): SupervisorApi {
  const noted = <T>(
    entry: Pick<AuditEntry, 'action' | 'request'> & { by: Author },
    work: () => Promise<T>,
    targets: (value: T) => readonly object[],
  ) => note({ audit, ...entry }, work, targets);
  return {
    ...bound(api),
    release: (id, by, detail) =>
      noted(
        { action: 'release', by, request: { id, detail } },
        () => api.release(id, by, detail),
        (one) => [target(one)],
      ),
    releaseMany: (request, by) =>
      request.dryRun
        ? api.releaseMany(request, by)
        : noted(
            { action: 'release_many', by, request },
            () => api.releaseMany(request, by),
            (all) => all.map(target),
          ),
    sweep: (request, by) =>
      request.dryRun
        ? api.sweep(request, by)
        : noted({ action: 'cleanup', by, request }, () => api.sweep(request, by), sweptTargets),
    drain: (timeoutMs, by) =>
      noted(
        { action: 'drain', by, request: { timeoutMs } },
        () => api.drain(timeoutMs, by),
        () => [],
      ),
    undrain: (by) =>
      noted(
        { action: 'undrain', by, request: {} },
        () => api.undrain(by),
        () => [],
      ),
    reload: (by) =>
      noted(
        { action: 'reload', by, request: {} },
        () => api.reload(by),
        (view) => [view],
      ),
  };
}

/** Written before the answer goes out. What curfew does by itself is in its log. */
async function note<T>(
  { audit, by, ...entry }: Pick<AuditEntry, 'action' | 'request'> & { audit: Audit; by: Author },
  work: () => Promise<T>,
  targets: (value: T) => readonly object[],
): Promise<T> {
  const isPerson = by.kind !== 'supervisor' || by.name.startsWith('SIG');
  const who = { actor: by.name, verified: by.kind === 'token', source: sourceOf(by) };
  try {
    const value = await work();
    if (isPerson)
      await audit.write({ ...entry, ...who, targets: targets(value), outcome: 'done', error: null });
    return value;
  } catch (error) {
    const text = error instanceof CurfewError ? `${error.code}: ${error.message}` : String(error);
    if (isPerson) await audit.write({ ...entry, ...who, targets: [], outcome: 'refused', error: text });
    throw error;
  }
}

/** A local user is as the CLI states it: Node cannot ask the kernel who is at the other end of a Unix socket. */
function sourceOf({ kind }: Author): AuditEntry['source'] {
  switch (kind) {
    case 'token':
      return 'tcp';
    case 'local':
      return 'socket';
    case 'supervisor':
      return 'signal';
  }
}

function target({ id, pid, state }: SessionView): object {
  return { session: id, pid, state };
}

export function sweptTargets({ verdicts }: SweepView): readonly object[] {
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

/** Methods of a class are lost by a spread; each keeps its `this`. */
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
    sweep: (request, by) => api.sweep(request, by),
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
