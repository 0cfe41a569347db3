/** Verifies LiveKit's webhooks, drops old and repeated ones, and translates the rest. Webhooks may be lost, repeated or late. */
import type { WebhookEvent } from 'livekit-server-sdk';
import { WebhookReceiver } from 'livekit-server-sdk';
import { z } from 'zod';
import type { RoomKey, Stamp } from '../../../core/ids.ts';
import { roomNamed } from '../../../core/ids.ts';
import type { RoomWebhook } from '../../../core/rooms/presence.ts';
import { CurfewError, messageOf } from '../../../lib/errors.ts';
import { PRESENCE } from '../../../lib/limits/room-limits.ts';
import type { ParticipantJson } from './participant-mapping.ts';
import { toParticipant, toReason } from './participant-mapping.ts';

export interface ReceivedWebhook {
  readonly room: RoomKey;
  readonly event: RoomWebhook;
}

const bodySchema = z.object({ participant: z.record(z.string(), z.json()).nullish() });

export class Webhooks {
  readonly #receiver: WebhookReceiver;
  readonly #seen = new Set<string>();

  constructor(keys: { apiKey: string; apiSecret: string }) {
    this.#receiver = new WebhookReceiver(keys.apiKey, keys.apiSecret);
  }

  /** `null`: a repeat, or an event that curfew does not use. Rejects bad_signature. */
  async receive(
    rawBody: string,
    authorization: string | undefined,
    now: Stamp,
  ): Promise<ReceivedWebhook | null> {
    const event = await this.#verify(rawBody, authorization);
    const createdWallMs = Number(event.createdAt) * 1000;
    const ageMs = now.wallMs - createdWallMs;
    if (ageMs > PRESENCE.webhookMaxAgeMs)
      throw new CurfewError(
        'bad_signature',
        createdWallMs === 0
          ? 'the webhook has no creation time'
          : `the webhook is too old: LiveKit created it ${Math.round(ageMs / 1000)} s ago; compare both clocks`,
      );
    if (this.#isRepeat(event.id)) return null;
    const { participant } = bodySchema.parse(JSON.parse(rawBody));
    return translate(event, participant ?? null, { bootMs: now.bootMs, wallMs: createdWallMs });
  }

  /**
   * The receiver reads the body only after it has verified the signature.
   * A worker's token has the same key, but no `sha256`, so the receiver refuses it.
   */
  async #verify(rawBody: string, authorization: string | undefined): Promise<WebhookEvent> {
    if (authorization === undefined)
      throw new CurfewError('bad_signature', 'the webhook has no Authorization header');
    try {
      return await this.#receiver.receive(rawBody, authorization.replace(/^Bearer /i, ''));
    } catch (error) {
      throw new CurfewError('bad_signature', refusal(error));
    }
  }

  #isRepeat(id: string): boolean {
    if (id === '') return false;
    if (this.#seen.has(id)) return true;
    this.#seen.add(id);
    const [oldest] = this.#seen;
    if (this.#seen.size > PRESENCE.webhookIdsKept && oldest !== undefined) this.#seen.delete(oldest);
    return false;
  }
}

/** Errors about the body quote it, and so the room's name. So only errors about the signature are passed on. */
function refusal(error: unknown): string {
  const text = messageOf(error);
  const ofSignature = (error instanceof Error && 'code' in error) || text.startsWith('sha256');
  return ofSignature
    ? `the webhook's signature is not valid: ${text}`
    : 'the webhook is not an event of LiveKit';
}

function translate(
  event: WebhookEvent,
  participant: ParticipantJson | null,
  at: Stamp,
): ReceivedWebhook | null {
  if (event.room === undefined || event.room.name === '') return null;
  const room: RoomKey = roomNamed(event.room.name);
  const base = { roomSid: event.room.sid, at };
  switch (event.event) {
    case 'room_finished':
      return { room, event: { kind: 'finished', ...base } };
    case 'participant_joined':
      if (participant === null) return null;
      return { room, event: { kind: 'joined', ...base, participant: toParticipant(participant) } };
    case 'participant_left':
    case 'participant_connection_aborted': {
      if (participant === null) return null;
      const gone = { participant: toParticipant(participant), reason: toReason(participant) };
      return { room, event: { kind: 'left', ...base, ...gone } };
    }
    case 'room_started':
    case 'track_published':
    case 'track_unpublished':
      return { room, event: { kind: 'changed', ...base } };
    default:
      return null;
  }
}
