/**
 * The logs of ended workers: their sizes, and the room that they may take. Over `retention.logs_total`, or on a disk that is
 * almost full, the rules of core/workers/log-budget.ts say which of them go.
 */
import { lstat, readdir } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { isWorkerName, workerId } from '../../../core/ids.ts';
import type { Session } from '../../../core/model/session.ts';
import { isIn, outcomeOf } from '../../../core/model/session.ts';
import type { EndedLog, LogDrop } from '../../../core/workers/log-budget.ts';
import { planDrops } from '../../../core/workers/log-budget.ts';
import { messageOf } from '../../../lib/errors.ts';
import { ENDED_LOGS } from '../../../lib/limits/storage-limits.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { WorkerRecords } from '../../../ports/worker-records.ts';
import { createWorkerRecords } from '../folder/folder-records.ts';
import { folderOf } from '../folder/worker-folder.ts';
import { lackingBytes } from './disk-space.ts';
import { dropLog, NOTICE_BYTES } from './drop-log.ts';

interface ShelfOptions {
  readonly workersDir: string;
  readonly log: Log;
  /** The value of `retention.logs_total` now. */
  readonly limitBytes: () => number;
}

export class LogShelf {
  readonly #options: ShelfOptions;
  readonly #records: WorkerRecords;
  readonly #logs = new Map<WorkerId, EndedLog>();
  /** One piece of work at a time. */
  #work: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout;
  #closed = false;

  constructor(options: ShelfOptions) {
    this.#options = options;
    this.#records = createWorkerRecords(options.workersDir);
    this.#timer = this.#checkDiskLater();
  }

  /** Call it when the worker's processes are gone and its record has the last state of the session. */
  add(id: WorkerId): void {
    this.#enqueue(async () => {
      await this.#note(id);
      await this.#keepTotal();
      // Because: short calls with much output fill a small disk between two checks.
      await this.#keepDiskFree();
    });
  }

  /**
   * Reads the sizes of all logs again, for the logs of earlier supervisors, and after a prune.
   * `isInUse`: the worker lives, or its session has not ended.
   */
  load(isInUse: (id: WorkerId) => boolean): Promise<void> {
    return this.#enqueue(async () => {
      const names = await readdir(this.#options.workersDir).catch(() => []);
      this.#logs.clear();
      for (const name of names) {
        if (this.#closed) return;
        if (isWorkerName(name) && !isInUse(workerId(name))) await this.#note(workerId(name));
      }
      await this.#keepTotal();
    });
  }

  /**
   * A start waits for this on a disk that is almost full, at most `WORKERS.folderMs`. Because: on a busy host calls can end
   * faster than their logs are dropped, and the next worker would find no room for its claim. Never rejects.
   */
  async makeRoom(): Promise<void> {
    const lacking = await lackingBytes(this.#options.workersDir, ENDED_LOGS.reserve).catch(() => 0);
    if (lacking <= 0) return;
    const made = this.#enqueue(() => this.#keepDiskFree());
    await pTimeout(made, { milliseconds: WORKERS.folderMs, fallback: () => undefined });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await pTimeout(this.#work, { milliseconds: WORKERS.folderMs, fallback: () => undefined });
  }

  async #note(id: WorkerId): Promise<void> {
    const info = await lstat(folderOf(this.#options.workersDir, id).log).catch(() => null);
    if (!info?.isFile()) return;
    const bytes = Math.max(0, info.size - NOTICE_BYTES);
    if (bytes > 0)
      this.#logs.set(id, { worker: id, endedAtMs: info.mtimeMs, bytes, ...(await this.#ownerOf(id)) });
  }

  async #ownerOf(id: WorkerId): Promise<Pick<EndedLog, 'agent' | 'hasFailed'>> {
    const session = (await this.#records.read(id))?.session ?? null;
    if (session !== null) return { agent: session.spec.profile.agent, hasFailed: hasFailed(session) };
    const warm = await this.#records.readWarm(id);
    return { agent: warm?.profile.agent ?? '', hasFailed: false };
  }

  #totalBytes(): number {
    let total = 0;
    for (const { bytes } of this.#logs.values()) total += bytes;
    return total;
  }

  async #keepTotal(): Promise<void> {
    const limitBytes = this.#options.limitBytes();
    if (this.#totalBytes() <= limitBytes) return;
    const why = `the logs of ended workers had more than retention.logs_total (${limitBytes} bytes)`;
    // The space below the limit lets the next logs come without a new plan for each.
    await this.#drop(limitBytes * ENDED_LOGS.targetShare, why);
  }

  #checkDiskLater(): NodeJS.Timeout {
    const tick = () => {
      const checked = this.#enqueue(() => this.#keepDiskFree());
      void checked.finally(() => {
        if (!this.#closed) this.#timer = this.#checkDiskLater();
      });
    };
    return setTimeout(tick, ENDED_LOGS.diskCheckMs).unref();
  }

  /** Records, and the logs of live workers, need the disk more. */
  async #keepDiskFree(): Promise<void> {
    const lacking = await lackingBytes(this.#options.workersDir, ENDED_LOGS.reserve);
    const total = this.#totalBytes();
    if (lacking > 0 && total > 0)
      await this.#drop(Math.max(0, total - lacking), 'the disk of the state directory was almost full');
  }

  async #drop(limitBytes: number, why: string): Promise<void> {
    const { tailBytes, agentShare } = ENDED_LOGS;
    const plan = planDrops([...this.#logs.values()], { limitBytes, tailBytes, agentShare });
    let bytes = 0;
    for (const one of plan) {
      if (this.#closed) break;
      bytes += await this.#dropOne(one, why);
    }
    this.#options.log.warn(
      { logs: plan.length, bytes, why, first: plan.slice(0, ENDED_LOGS.named).map((one) => one.worker) },
      'logs of ended workers were dropped',
    );
  }

  /** A log that cannot be dropped counts as gone, or each check would try it again. */
  async #dropOne({ worker, keepBytes }: LogDrop, why: string): Promise<number> {
    const known = this.#logs.get(worker);
    if (known === undefined) return 0;
    if (keepBytes > 0) this.#logs.set(worker, { ...known, bytes: keepBytes });
    else this.#logs.delete(worker);
    const { log: path } = folderOf(this.#options.workersDir, worker);
    return dropLog({ path, keepBytes, why }).catch((error: unknown) => {
      this.#options.log.warn(
        { worker, error: messageOf(error) },
        'the log of an ended worker could not be dropped',
      );
      return 0;
    });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#options.log.debug({ error: messageOf(error) }, 'the logs of ended workers could not be checked');
    });
    return this.#work;
  }
}

/**
 * The last record in a worker's folder is of the teardown at the latest, so its reason decides.
 * A record from before a teardown: the worker was replaced after a crash, or the host was lost.
 */
function hasFailed(session: Session): boolean {
  return !isIn(session, 'closing', 'ended') || outcomeOf(session.phase.ending.reason) === 'failed';
}
