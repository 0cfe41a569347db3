/** Real participants (rtc-node) in their own process, so that a test can kill them as a phone can die. */
import type { VideoGrant } from 'livekit-server-sdk';
import type { LiveKit } from '../livekit/livekit-server.ts';
import { CallersProcess } from './callers-process.ts';

export interface JoinOptions {
  readonly kind?: string;
  readonly attributes?: Record<string, string>;
  readonly grant?: VideoGrant;
  readonly audio?: boolean;
  /** The caller subscribes to the tracks of others, as a real one does. Absent: false, which costs less. */
  readonly listens?: boolean;
}

const JOIN_ATTEMPTS = 5;

/** One process with any number of callers in it. */
export class Callers {
  readonly #livekit: LiveKit;
  readonly #process = new CallersProcess('caller.mjs');

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
  }

  async join(room: string, identity: string, options: JoinOptions = {}): Promise<void> {
    const { audio = true, listens = false, ...claims } = options;
    const token = await this.#livekit.token(room, { identity, ...claims });
    await this.joinWith(room, identity, token, { audio, listens });
  }

  async joinWith(
    room: string,
    identity: string,
    token: string,
    { audio = false, listens = false }: Pick<JoinOptions, 'audio' | 'listens'> = {},
  ): Promise<void> {
    const url = this.#livekit.url;
    const command = { do: 'join', id: `${room}/${identity}`, url, token, audio, listens };
    for (let attempt = 1; ; attempt += 1) {
      const error = await this.#process.do(command, 'joined').catch((failed: Error) => failed);
      if (error === undefined) return;
      // Because: on a busy machine LiveKit's client sometimes loses a room or hangs, so the callers join again.
      if (attempt === JOIN_ATTEMPTS || !/handle not found|not connected within/.test(error.message))
        throw error;
    }
  }

  leave(room: string, identity: string): Promise<void> {
    return this.#process.do({ do: 'leave', id: `${room}/${identity}` }, 'left');
  }

  setAttributes(room: string, identity: string, attributes: Record<string, string>): Promise<void> {
    return this.#process.do({ do: 'attributes', id: `${room}/${identity}`, attributes }, 'attributes');
  }

  /** Kills the process without a goodbye to LiveKit, as when a phone's battery is empty. */
  kill(): void {
    this.#process.kill();
  }
}
