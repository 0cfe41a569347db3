/** Sets damaged records of open sessions aside and names them in the log, so that the other sessions are not affected. */

import { asSession } from '../../core/admission/stored-record.ts';
import type { Session } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../ports/log.ts';

export class DamagedRecords {
  readonly #log: Log;
  readonly #setAside: (ids: readonly string[]) => Promise<string>;
  #found = false;

  /** `setAside` resolves with the file that contains the records now. */
  constructor(log: Log, setAside: (ids: readonly string[]) => Promise<string>) {
    this.#log = log;
    this.#setAside = setAside;
  }

  /** True: workers without a record may live. */
  get wereFound(): boolean {
    return this.#found;
  }

  /** Returns the valid sessions and sets the other rows aside. Never rejects. */
  async takeSound(rows: readonly (readonly [id: string, body: unknown])[]): Promise<Session[]> {
    const sound: Session[] = [];
    const damaged: string[] = [];
    for (const [id, body] of rows) {
      const session = asSession(body);
      if (session === null || session.spec.id !== id) damaged.push(id);
      else sound.push(session);
    }
    if (damaged.length > 0) await this.#report(damaged);
    return sound;
  }

  async #report(ids: readonly string[]): Promise<void> {
    this.#found = true;
    try {
      const setAside = await this.#setAside(ids);
      this.#log.error(
        { sessions: ids, setAside },
        'records of sessions are damaged and were set aside; check their workers with `curfew cleanup`',
      );
    } catch (error) {
      this.#log.error(
        { sessions: ids, error: messageOf(error) },
        'records of sessions are damaged and could not be set aside',
      );
    }
  }
}
