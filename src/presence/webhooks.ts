/** LiveKit's webhooks: verified, fresh, each once, then translated. They are hints: lost, repeated and late ones happen. */
import type { WebhookEvent } from 'livekit-server-sdk';
import { WebhookReceiver } from 'livekit-server-sdk';
import type { RoomKey, Stamp } from '../core/ids.ts';
import type { RoomEvent } from '../core/presence.ts';
import { CurfewError, messageOf } from '../errors.ts';
import { PRESENCE } from '../limits.ts';
import { toParticipant, toReason } from './mapping.ts';

export interface RoomNews {
  readonly room: RoomKey;
  readonly event: RoomEvent;
}

export class Webhooks {
  readonly #receiver: WebhookReceiver;
  readonly #seen = new Set<string>();

  constructor(keys: { apiKey: string; apiSecret: string }) {
    this.#receiver = new WebhookReceiver(keys.apiKey, keys.apiSecret);
  }

  /** null: a repeat, or nothing of interest. Rejects bad_signature. */
  async receive(rawBody: string, authorization: string | undefined, now: Stamp): Promise<RoomNews | null> {
    const event = await this.#verify(rawBody, authorization);
    const createdWallMs = Number(event.createdAt) * 1000;
    if (now.wallMs - createdWallMs > PRESENCE.webhookMaxAgeMs) {
      throw new CurfewError(
        'bad_signature',
        `the webhook is stale: it was made ${Math.round((now.wallMs - createdWallMs) / 1000)} s ago`,
      );
    }
    if (this.#isRepeat(event.id)) return null;
    return translate(event, { bootMs: now.bootMs, wallMs: createdWallMs > 0 ? createdWallMs : now.wallMs });
  }

  async #verify(rawBody: string, authorization: string | undefined): Promise<WebhookEvent> {
    if (authorization === undefined)
      throw new CurfewError('bad_signature', 'the webhook has no Authorization header');
    try {
      return await this.#receiver.receive(rawBody, authorization.replace(/^Bearer /i, ''));
    } catch (error) {
      throw new CurfewError('bad_signature', `the webhook's signature does not hold: ${messageOf(error)}`);
    }
  }

  #isRepeat(id: string): boolean {
    if (id === '' || this.#seen.has(id)) return id !== '';
    this.#seen.add(id);
    const [oldest] = this.#seen;
    if (this.#seen.size > PRESENCE.webhookIdsKept && oldest !== undefined) this.#seen.delete(oldest);
    return false;
  }
}

function translate(event: WebhookEvent, at: Stamp): RoomNews | null {
  const { room, participant } = event;
  if (room === undefined || room.name === '') return null;
  const key: RoomKey = { project: 'default', name: room.name };
  const base = { roomSid: room.sid, at };
  switch (event.event) {
    case 'room_finished':
      return { room: key, event: { kind: 'finished', ...base } };
    case 'participant_joined':
      return participant === undefined
        ? null
        : { room: key, event: { kind: 'joined', ...base, participant: toParticipant(participant) } };
    case 'participant_left':
    case 'participant_connection_aborted':
      if (participant === undefined) return null;
      return {
        room: key,
        event: {
          kind: 'left',
          ...base,
          participant: toParticipant(participant),
          reason: toReason(participant),
        },
      };
    case 'room_started':
    case 'track_published':
    case 'track_unpublished':
      return { room: key, event: { kind: 'changed', ...base } };
    default:
      return null;
  }
}
