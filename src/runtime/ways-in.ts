/** The ways in that nobody has to call: LiveKit's own dispatch, and rooms by pattern. And the warm workers for whatever comes. */
import { roomNamed } from '../core/ids.ts';
import type { Profile } from '../core/profile.ts';
import type { Dispatcher } from './dispatcher.ts';
import { JobDesk } from './job-desk.ts';
import { RoomCaller } from './room-caller.ts';
import type { Sessions } from './sessions.ts';

export class WaysIn {
  readonly #jobDesk: JobDesk | null;
  readonly #caller: RoomCaller;
  readonly #sessions: Sessions;
  readonly #isAccepting: () => boolean;

  constructor(options: { sessions: Sessions; dispatcher: Dispatcher; isAccepting: () => boolean }) {
    const { sessions } = options;
    const onRefused = (room: string, profile: Profile) => this.#refused(room, profile);
    const { jobs } = sessions.deps;
    this.#sessions = sessions;
    this.#isAccepting = options.isAccepting;
    this.#jobDesk = jobs === null ? null : new JobDesk({ ...options, jobs, onRefused });
    this.#caller = new RoomCaller({ ...options, onRefused });
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
    const { roomDesk, deps } = this.#sessions;
    if (profile.onRefused === 'keep') return;
    roomDesk?.refused(roomNamed(room), { at: deps.clock.now(), by: null, ownJob: null });
  }
}
