/** Open sessions whose record is no record of ours: named, set aside, and not in the way of the others. */

import { asSession } from '../../core/admission/stored-record.ts';
import type { Session } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../ports/log.ts';

export class DamagedRecords {
  readonly #log: Log;
  readonly #setAside: (ids: readonly string[]) => Promise<string>;
  #found = false;

  /** `setAside` tells the file that they are in now. */
  constructor(log: Log, setAside: (ids: readonly string[]) => Promise<string>) {
    this.#log = log;
    this.#setAside = setAside;
  }

  /** Then workers may live that no record explains. */
  get wereFound(): boolean {
    return this.#found;
  }

  async without(rows: readonly (readonly [id: string, body: unknown])[]): Promise<Session[]> {
    const sound: Session[] = [];
    const damaged: string[] = [];
    for (const [id, body] of rows) {
      const session = asSession(body);
      if (session === null) damaged.push(id);
      else sound.push(session);
    }
    if (damaged.length > 0) await this.#name(damaged);
    return sound;
  }

  async #name(ids: readonly string[]): Promise<void> {
    this.#found = true;
    try {
      const setAside = await this.#setAside(ids);
      this.#log.error({ sessions: ids, setAside }, 'records of sessions are damaged and were set aside');
    } catch (error) {
      this.#log.error(
        { sessions: ids, error: messageOf(error) },
        'records of sessions are damaged and could not be set aside',
      );
    }
  }
}
