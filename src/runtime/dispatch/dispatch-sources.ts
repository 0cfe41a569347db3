/** Calls that arrive without a dispatch by a program or person: from LiveKit's own dispatch, and by room pattern. Also keeps the warm pool at the config's size. */
import { roomNamed } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';
import type { Dispatcher } from './dispatcher.ts';
import { JobSource } from './job-source.ts';
import { beginAgain } from './rejoin-source.ts';
import { RoomSource } from './room-source.ts';

type SourceParts = Pick<
  SupervisorParts,
  'deps' | 'sessions' | 'admission' | 'roomRouter' | 'pool' | 'zygotes' | 'answers'
>;

export class DispatchSources {
  readonly #jobs: JobSource | null;
  readonly #rooms: RoomSource;
  readonly #parts: SourceParts;
  readonly #isAccepting: () => boolean;

  constructor(
    parts: SourceParts,
    { dispatcher, isAccepting }: { dispatcher: Dispatcher; isAccepting: () => boolean },
  ) {
    const { deps, sessions, admission, roomRouter, answers } = parts;
    const onRefused = (room: string, profile: Profile) => this.#refused(room, profile);
    this.#parts = parts;
    this.#isAccepting = isAccepting;
    this.#jobs =
      deps.jobs === null
        ? null
        : new JobSource({
            jobs: deps.jobs,
            deps,
            sessions,
            admission,
            answers,
            dispatcher,
            isAccepting,
            onRefused,
          });
    const watches = roomRouter?.watches;
    watches?.onReturned((watch) => beginAgain(watch, { deps, sessions, watches, dispatcher, onRefused }));
    this.#rooms = new RoomSource({ deps, sessions, roomRouter, dispatcher, onRefused });
  }

  start(): void {
    this.#parts.roomRouter?.onFound((room, roomSid) => this.#rooms.found(room, roomSid));
    this.#jobs?.start();
    this.#rooms.reload();
    this.#refreshPools();
  }

  /** The config may name other agents now, and the agents' files may have changed. */
  reload(): void {
    this.#jobs?.reload();
    this.#rooms.reload();
    this.#parts.zygotes.renew();
    this.#refreshPools();
  }

  /** The supervisor begins or stops to accept sessions. */
  acceptingChanged(): void {
    this.#jobs?.reportLoad();
    this.#refreshPools();
  }

  /** Accepts no more calls. Warm workers stay for the next start. */
  leave(): void {
    this.#parts.pool.close();
    this.#parts.zygotes.close();
    this.#jobs?.reportLoad();
  }

  close(): void {
    this.#jobs?.close();
  }

  /** The zygotes first, because warm workers are forked from them. */
  #refreshPools(): void {
    this.#parts.zygotes.refresh(this.#isAccepting());
    this.#parts.pool.refresh(this.#isAccepting());
  }

  #refused(room: string, profile: Profile): void {
    const { roomRouter, deps } = this.#parts;
    if (profile.onRefused === 'keep') return;
    const { ignore } = profile;
    roomRouter?.refused(roomNamed(room), { at: deps.clock.now(), by: null, ownJob: null, ignore });
  }
}
