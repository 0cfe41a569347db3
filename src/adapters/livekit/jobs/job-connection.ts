/**
 * One WebSocket to LiveKit's `/agent`: opens, registers and reads frames.
 * A silent connection is dropped. Each connection ends once, with a reason.
 */
import { AccessToken } from 'livekit-server-sdk';
import type { RawData } from 'ws';
import { WebSocket } from 'ws';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import { messageOf } from '../../../lib/errors.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import { livekitUrl } from '../../../lib/livekit-url.ts';
import { openTunnel, proxyOf } from '../../../lib/outgoing-proxy.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { ServerFrame, WorkerFrame } from './job-frames.ts';
import { readFrame, registerFrame } from './job-frames.ts';
import { describeClose, describeSocketError, describeStatus, FAILURES } from './registration-failure.ts';

export interface ConnectionOptions {
  readonly livekit: LiveKitKeys;
  readonly clock: Clock;
  readonly agentName: string;
  readonly version: string;
}

export interface ConnectionListener {
  registered(info: { agentProtocol: number; version: string }): void;
  frame(frame: ServerFrame): void;
  /** A frame could not be parsed. The connection continues. */
  garbage(): void;
  /** Called regularly while registered. `isHeard`: the server sent a message or a ping since the last call. */
  beat(isHeard: boolean): void;
  /** Called exactly once, except after `close`. */
  ended(reason: string): void;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #listener: ConnectionListener;
  #socket: WebSocket | null = null;
  #state: 'opening' | 'registering' | 'registered' | 'ended' = 'opening';
  #cancel: () => void;
  #garbage = 0;
  #isHeard = false;
  #silentBeats = 0;

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    this.#options = options;
    this.#listener = listener;
    this.#cancel = this.#after(JOBS.openMs, () => this.#end(FAILURES.noAnswer));
    void this.#open().catch((error: unknown) => this.#end(messageOf(error)));
  }

  get isRegistered(): boolean {
    return this.#state === 'registered';
  }

  /** False: the connection is not registered. */
  send(frame: WorkerFrame): boolean {
    if (this.#state !== 'registered') return false;
    this.#write(frame);
    return true;
  }

  /** Sends a close frame and waits a bounded time for the answer. */
  async close(): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancel();
    const socket = this.#socket;
    if (socket === null) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#after(JOBS.lingerMs, () => socket.terminate());
      socket.once('close', () => {
        cancel();
        resolve();
      });
      if (socket.readyState === WebSocket.OPEN) socket.close(1000);
      else socket.terminate();
    });
  }

  async #open(): Promise<void> {
    const { livekit } = this.#options;
    const token = await makeToken(livekit);
    const url = livekitUrl(livekit.url, 'ws', '/agent');
    const proxy = proxyOf(url);
    const tunnel = proxy && (await openTunnel(proxy, url, AbortSignal.timeout(JOBS.openMs)));
    if (this.#state === 'ended') {
      tunnel?.destroy();
      return;
    }
    const socket = new WebSocket(url, {
      ...(tunnel !== null && { createConnection: () => tunnel }),
      headers: { authorization: `Bearer ${token}` },
      maxPayload: JOBS.frameBytes,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    socket.on('open', () => this.#register());
    socket.on('ping', () => this.#noteHeard());
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('unexpected-response', (request, response) => {
      request.destroy();
      this.#end(describeStatus(response.statusCode ?? 0));
    });
    // The first event has the reason. Later ones are its consequences and are ignored.
    socket.on('error', (error) => this.#end(describeSocketError(error)));
    socket.on('close', (code) => this.#end(describeClose(code)));
  }

  #register(): void {
    if (this.#state !== 'opening') return;
    this.#state = 'registering';
    this.#cancel();
    this.#cancel = this.#after(JOBS.registerMs, () => this.#end(FAILURES.noRegister));
    this.#write(registerFrame(this.#options));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#state === 'ended') return;
    this.#noteHeard();
    // We send text, and LiveKit answers text with text, so a binary frame is not from LiveKit.
    const frame = isBinary ? null : readFrame(data.toString());
    if (this.#state !== 'registered') this.#readRegistration(frame);
    else if (frame === null) this.#countGarbage();
    else {
      this.#garbage = 0;
      this.#listener.frame(frame);
    }
  }

  #readRegistration(frame: ServerFrame | null): void {
    if (frame?.type !== 'register') {
      this.#end(FAILURES.notRegister);
      return;
    }
    this.#state = 'registered';
    this.#cancel();
    this.#cancel = this.#after(JOBS.beatMs, () => this.#beat());
    this.#listener.registered(frame);
  }

  #countGarbage(): void {
    this.#garbage += 1;
    if (this.#garbage >= JOBS.garbageFrames) this.#end(FAILURES.garbage);
    else this.#listener.garbage();
  }

  #noteHeard(): void {
    this.#isHeard = true;
  }

  /** Counts silence in beats, not in time: a supervisor that was stopped has no beats and so counts no silence. */
  #beat(): void {
    this.#silentBeats = this.#isHeard ? 0 : this.#silentBeats + 1;
    this.#isHeard = false;
    if (this.#silentBeats >= JOBS.silentBeats) {
      this.#end(FAILURES.silent);
      return;
    }
    this.#cancel = this.#after(JOBS.beatMs, () => this.#beat());
    this.#listener.beat(this.#silentBeats === 0);
  }

  #write(frame: WorkerFrame): void {
    // 'close' follows a failure to send.
    this.#socket?.send(JSON.stringify(frame), () => undefined);
  }

  #end(reason: string): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancel();
    this.#socket?.terminate();
    this.#listener.ended(reason);
  }

  #after(delayMs: number, callback: () => void): () => void {
    const { clock } = this.#options;
    return clock.at(clock.now().bootMs + delayMs, callback);
  }
}

function makeToken({ apiKey, apiSecret }: LiveKitKeys): Promise<string> {
  const token = new AccessToken(apiKey, apiSecret, { ttl: JOBS.tokenSeconds });
  token.addGrant({ agent: true });
  return token.toJwt();
}
