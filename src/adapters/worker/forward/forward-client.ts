/** Tells the thread which logs to forward, and which session and agent each belongs to. Keeps the thread's last status. */
import { z } from 'zod';
import type { WorkerId } from '../../../core/ids.ts';
import { FORWARD } from '../../../lib/limits/forward-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { Forwarding } from '../../../ports/workers.ts';
import { createWorkerRecords } from '../folder/folder-records.ts';
import { TrimClient } from '../log/trim-client.ts';
import type { LineOwner } from './forwarded-line.ts';
import type { ForwardRequest, ForwardStatus, ForwardTarget } from './forwarder.ts';
import type { TailFrom } from './log-tail.ts';

interface Watched {
  readonly path: string;
  /** Where a new thread begins with this log. */
  from: TailFrom;
  /** `null`: not known yet, so the log waits. */
  owner: LineOwner | null;
  /** The worker ended before its owner was read. */
  isEnded: boolean;
}

interface ForwardOptions {
  readonly to: ForwardTarget;
  readonly workersDir: string;
  readonly log: Log;
}

const agentOf = z.object({ agent: z.string() });
const ownerSchema = z.union([
  z.object({ session: z.object({ spec: z.object({ id: z.string(), profile: agentOf }) }) }),
  z.object({ warm: z.object({ profile: agentOf }) }),
]);

export class ForwardClient {
  /** The thread also cuts the logs. */
  readonly thread: TrimClient;
  readonly #options: ForwardOptions;
  readonly #watched = new Map<string, Watched>();
  #status: ForwardStatus = {
    waitingBytes: 0,
    dropped: { lines: 0, bytes: 0, cutBytes: 0 },
    workers: [],
    error: null,
  };
  /** Dropped output and time of the last warning. */
  #warned = { lines: 0, bytes: 0, cutBytes: 0, atMs: Number.NEGATIVE_INFINITY };

  constructor(options: ForwardOptions) {
    this.#options = options;
    this.thread = new TrimClient({
      begin: () => this.#begin(),
      onStatus: (status) => this.#onStatus(status),
    });
  }

  status(): Forwarding {
    const { waitingBytes, dropped, workers, error } = this.#status;
    return { to: this.#options.to, waitingBytes, dropped, workers, error };
  }

  /** A new worker's owner comes with its first record. That of an adopted worker is in its folder. */
  watch(worker: string, path: string, from: TailFrom): void {
    this.#watched.set(worker, { path, from, owner: null, isEnded: false });
    if (from === 'noted') void this.#readOwner(worker);
  }

  /** The worker's new record. It names the session from the assignment on. */
  recorded(worker: string, record: object): void {
    const watched = this.#watched.get(worker);
    const found = ownerSchema.safeParse(record);
    if (watched === undefined || !found.success) return;
    const owner =
      'session' in found.data
        ? { worker, agent: found.data.session.spec.profile.agent, session: found.data.session.spec.id }
        : { worker, agent: found.data.warm.profile.agent, session: watched.owner?.session ?? '' };
    this.#own(watched, owner);
  }

  end(worker: string): void {
    const watched = this.#watched.get(worker);
    if (watched === undefined) return;
    watched.isEnded = true;
    if (watched.owner === null && watched.from === 'noted') return;
    this.#watched.delete(worker);
    this.thread.forward(() => ({ forward: 'end', worker }));
  }

  #own(watched: Watched, owner: LineOwner): void {
    const before = watched.owner;
    watched.owner = owner;
    if (before === null) this.thread.forward(() => watchRequest(watched, owner));
    else if (before.session !== owner.session || before.agent !== owner.agent)
      this.thread.forward(() => ({ forward: 'own', owner }));
  }

  async #readOwner(worker: string): Promise<void> {
    const records = createWorkerRecords(this.#options.workersDir);
    const session = (await records.read(worker as WorkerId))?.session;
    const warm = session === undefined ? await records.readWarm(worker as WorkerId) : null;
    const watched = this.#watched.get(worker);
    // A newer record may have come meanwhile.
    if (watched === undefined || watched.owner !== null) return;
    const agent = session?.spec.profile.agent ?? warm?.profile.agent ?? '';
    this.#own(watched, { worker, agent, session: session?.spec.id ?? '' });
    if (watched.isEnded) this.end(worker);
  }

  #begin(): ForwardRequest[] {
    const watches = [...this.#watched.values()].flatMap((one) =>
      one.owner === null ? [] : watchRequest(one, one.owner),
    );
    return [{ forward: 'open', to: this.#options.to }, ...watches];
  }

  #onStatus(status: ForwardStatus): void {
    this.#status = status;
    const nowMs = performance.now();
    const { lines, bytes, cutBytes } = status.dropped;
    const more = { lines: lines - this.#warned.lines, cutBytes: cutBytes - this.#warned.cutBytes };
    if (more.lines + more.cutBytes === 0 || nowMs - this.#warned.atMs < FORWARD.warnMs) return;
    const { to } = this.#options;
    if (more.lines > 0)
      this.#options.log.warn(
        { to, lines: more.lines, bytes: bytes - this.#warned.bytes },
        'lines of workers were not forwarded, because the reader was slow; the log files have them',
      );
    if (more.cutBytes > 0)
      this.#options.log.warn(
        { to, bytes: more.cutBytes },
        'output of workers was not forwarded, because it was cut out of their logs before curfew read it; let the agents print less',
      );
    this.#warned = { lines, bytes, cutBytes, atMs: nowMs };
  }
}

/** Call it right before the message is sent. After a crash of the thread a new one goes on at the noted place. */
function watchRequest(watched: Watched, owner: LineOwner): ForwardRequest {
  const { path, from } = watched;
  watched.from = 'noted';
  return { forward: 'watch', path, from, owner };
}
