/**
 * What a start finds: every session that had not ended is matched with what runs, before anything new is accepted.
 * Alive: taken over, same process, deadlines as they were. Ended meanwhile: closed with its true exit status.
 * Only intended: started or failed, never both, by the claim file. Another boot: lost with its host.
 * Ended, but its worker could not be killed: held as before, and killed again.
 */
import { holdingOf } from '../core/holdings.ts';
import { quotasOf } from '../core/quota.ts';
import type { Session } from '../core/session.ts';
import { isEnded, workerOf } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import type { Sessions } from './sessions.ts';
import { firstWorkerId } from './sessions.ts';

export async function recover(sessions: Sessions): Promise<void> {
  const { log, registry } = sessions.deps;
  const open = await registry.open();
  // Whoever waits asks for a place only when all that hold one have theirs.
  for (const session of [...open.filter(holdsSomething), ...open.filter((one) => !holdsSomething(one))]) {
    await recoverOne(sessions, session).catch((error: unknown) => {
      log.error(
        { session: session.spec.id, error: messageOf(error) },
        'a session could not be taken over; it is left as it is',
      );
    });
  }
  if (open.length > 0) log.info({ sessions: open.length }, 'the sessions of before were taken over');
}

function holdsSomething(session: Session): boolean {
  return holdingOf(session) !== null;
}

async function recoverOne(sessions: Sessions, session: Session): Promise<void> {
  if (isEnded(session)) return recoverUnkillable(sessions, session);
  const { id } = session.spec;
  const { instance, clock } = sessions.deps;
  const worker = workerOf(session);
  if (isOfAnotherBoot(session, instance.bootId, clock.now().bootMs)) {
    sessions.add(session, []);
    sessions.post(id, { type: 'node_lost' });
    return;
  }
  if (worker === null || worker.treeGone) {
    sessions.add(session, []);
    requeue(sessions, session);
    return;
  }
  // Before its timers run: whoever signals it must find it.
  const found = await sessions.workers.adopt(worker.id, worker.process);
  sessions.add(session, []);
  if (found === null)
    sessions.post(id, {
      type: 'spawn_failed',
      workerId: worker.id,
      detail: 'the supervisor ended before the worker was started',
    });
  else if (worker.process === null)
    sessions.post(id, { type: 'spawned', workerId: worker.id, process: found });
  sessions.post(id, { type: 'channel', workerId: worker.id, open: false });
  // Nothing was heard or seen meanwhile: silence, absence and steps count anew.
  sessions.post(id, { type: 'gap', gapMs: 0 });
}

/** Ended, and nothing killed its worker: it keeps slot and claim until its tree is gone, and is hunted again. */
async function recoverUnkillable(sessions: Sessions, session: Session): Promise<void> {
  const { instance, clock } = sessions.deps;
  const worker = workerOf(session);
  if (worker === null) return;
  const lost = isOfAnotherBoot(session, instance.bootId, clock.now().bootMs);
  const found = lost ? null : await sessions.workers.adopt(worker.id, worker.process);
  sessions.add(session, []);
  if (found === null) sessions.post(session.spec.id, { type: 'tree', workerId: worker.id, left: 0 });
  else sessions.workers.signal(worker.id, 'SIGKILL');
}

function isOfAnotherBoot(session: Session, bootId: string, nowMs: number): boolean {
  const process = workerOf(session)?.process ?? null;
  // Without a process to ask, a creation in the boot clock's future tells.
  return process === null ? session.spec.createdAt.bootMs > nowMs : process.shim.bootId !== bootId;
}

/** It waits again, behind those that are running; its time in the queue begins anew. */
function requeue(sessions: Sessions, session: Session): void {
  const { spec, phase } = session;
  if (phase.name !== 'queued') {
    sessions.post(spec.id, { type: 'tick' });
    return;
  }
  const answer = sessions.desk.request({ sessionId: spec.id, claim: spec.claim, quotas: quotasOf(spec) });
  if (answer.kind === 'granted')
    sessions.post(spec.id, {
      type: 'granted',
      startAtMs: answer.startAtMs,
      workerId: firstWorkerId(spec.id),
    });
  if (answer.kind === 'full' || answer.kind === 'taken')
    sessions.post(spec.id, {
      type: 'expired',
      detail: 'the supervisor was restarted and its place was gone',
    });
}
