/** The ways in that nobody has to call: LiveKit's own dispatch, and rooms by pattern. And the warm workers for whatever comes. */
import { roomNamed } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { Dispatcher } from './dispatcher.ts';
import { JobSource } from './job-source.ts';
import { RoomSource } from './room-source.ts';

export class DispatchSources {
  readonly #jobDesk: JobSource | null;
  readonly #caller: RoomSource;
  readonly #sessions: SessionHost;
  readonly #isAccepting: () => boolean;

  constructor(options: { sessions: SessionHost; dispatcher: Dispatcher; isAccepting: () => boolean }) {
    const { sessions } = options;
    const onRefused = (room: string, profile: Profile) => this.#refused(room, profile);
    const { jobs } = sessions.deps;
    this.#sessions = sessions;
    this.#isAccepting = options.isAccepting;
    this.#jobDesk = jobs === null ? null : new JobSource({ ...options, jobs, onRefused });
    this.#caller = new RoomSource({ ...options, onRefused });
  }

  start(): void {
    this.#sessions.onFound((room, roomSid) => this.#caller.found(room, roomSid));
    this.#jobDesk?.start();
    this.#caller.reload();
    this.#sessions.pool.refresh(this.#isAccepting());
  }

  /** Other agents in the config. */
  reload(): void {
    this.#jobDesk?.reload();
    this.#caller.reload();
    this.#sessions.pool.refresh(this.#isAccepting());
  }

  /** Whether anything is taken may have changed. */
  acceptingChanged(): void {
    this.#jobDesk?.tellLoad();
    this.#sessions.pool.refresh(this.#isAccepting());
  }

  /** Nothing is taken any more, and who is kept warm is left for the next start. */
  leave(): void {
    this.#sessions.pool.close();
    this.#jobDesk?.tellLoad();
  }

  close(): void {
    this.#jobDesk?.close();
  }

  #refused(room: string, profile: Profile): void {
    const { roomRouter, deps } = this.#sessions;
    if (profile.onRefused === 'keep') return;
    roomRouter?.refused(roomNamed(room), { at: deps.clock.now(), by: null, ownJob: null });
  }
}
