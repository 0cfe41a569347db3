/**
 * A caller: dispatches an agent into a room, joins it, speaks a tone, hears it come back and hangs up.
 * Usage: npm run call [-- --room NAME --seconds N]. Exits 0 only when all of it happened.
 */
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { parseArgs } from 'node:util';
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  dispose,
  LocalAudioTrack,
  Room,
  RoomEvent,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
} from '@livekit/rtc-node';
import { AccessToken } from 'livekit-server-sdk';

const SAMPLE_RATE = 48_000;
const FRAME_MS = 10;
const TONE_HZ = 440;
const HEARD_LEVEL = 1000;
const BOUND_MS = 30_000;

const { values } = parseArgs({
  options: {
    room: { type: 'string' },
    agent: { type: 'string' },
    seconds: { type: 'string', default: '2' },
    dir: { type: 'string', default: '.curfew' },
  },
});
const room = values.room ?? `call-${Date.now().toString(36)}`;
const socketPath = `${values.dir}/curfew.sock`;
const devPath = `${values.dir}/dev.json`;
const begun = performance.now();

function tell(text) {
  console.log(`${((performance.now() - begun) / 1000).toFixed(2).padStart(6)} s  ${text}`);
}

function stop(text) {
  console.error(`call: ${text}`);
  process.exit(1);
}

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const asked = request(
      { socketPath, method, path, headers: { 'content-type': 'application/json' }, timeout: BOUND_MS },
      async (answer) => {
        const chunks = await answer.toArray();
        const data = JSON.parse(Buffer.concat(chunks).toString());
        if (answer.statusCode >= 400) reject(new Error(data.detail ?? `status ${answer.statusCode}`));
        else resolve(data);
      },
    );
    asked.on('error', reject);
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${BOUND_MS} ms`)));
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function within(what, promise) {
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`${what}: not within ${BOUND_MS / 1000} s`)), BOUND_MS).unref(),
  );
  return Promise.race([promise, late]);
}

async function speak(source, seconds) {
  const samples = (SAMPLE_RATE * FRAME_MS) / 1000;
  for (let at = 0; at < seconds * SAMPLE_RATE; at += samples) {
    const data = Int16Array.from(
      { length: samples },
      (_, index) => 10_000 * Math.sin((2 * Math.PI * TONE_HZ * (at + index)) / SAMPLE_RATE),
    );
    await source.captureFrame(new AudioFrame(data, SAMPLE_RATE, 1, samples));
  }
}

/** How loud one frequency is: Goertzel's filter. */
function toneLevel(data) {
  const coefficient = 2 * Math.cos((2 * Math.PI * TONE_HZ) / SAMPLE_RATE);
  let before = 0;
  let last = 0;
  for (const sample of data) [before, last] = [last, sample + coefficient * last - before];
  return (2 * Math.sqrt(Math.max(0, before ** 2 + last ** 2 - coefficient * before * last))) / data.length;
}

async function hearTone(track) {
  for await (const frame of new AudioStream(track, SAMPLE_RATE, 1))
    if (toneLevel(frame.data) > HEARD_LEVEL) return;
}

if (!existsSync(socketPath) || !existsSync(devPath))
  stop(`no supervisor for development here (${socketPath}); run npm start first, in another terminal`);
const { livekit } = JSON.parse(readFileSync(devPath, 'utf8'));
if (livekit === null)
  stop('npm start runs without LiveKit, so there is nobody to call; it said how to get one');

try {
  const session = await ask('POST', '/v1/sessions', {
    room,
    ...(values.agent === undefined ? {} : { agent: values.agent }),
  });
  tell(`dispatched: session ${session.id} for room ${room}`);
  const token = new AccessToken(livekit.apiKey, livekit.apiSecret, { identity: `caller-${process.pid}` });
  token.addGrant({ room, roomJoin: true });
  const line = new Room();
  const agentTrack = new Promise((resolve) => {
    line.on(RoomEvent.TrackSubscribed, (track) => track.kind === TrackKind.KIND_AUDIO && resolve(track));
  });
  await within(
    'joining the room',
    line.connect(livekit.url, await token.toJwt(), { autoSubscribe: true, dynacast: false }),
  );
  tell('in the room');
  const source = new AudioSource(SAMPLE_RATE, 1);
  const options = new TrackPublishOptions();
  options.source = TrackSource.SOURCE_MICROPHONE;
  await line.localParticipant.publishTrack(LocalAudioTrack.createAudioTrack('caller', source), options);
  const track = await within('the agent in the room', agentTrack);
  tell('the agent is there');
  const speaking = performance.now();
  const heard = within('the tone coming back', hearTone(track)).then(() =>
    tell(`heard the tone come back after ${Math.round(performance.now() - speaking)} ms`),
  );
  await Promise.all([speak(source, Number(values.seconds)), heard]);
  await line.disconnect();
  tell('hung up');
  let ended = await ask('GET', `/v1/sessions/${session.id}`);
  for (const until = performance.now() + BOUND_MS; ended.endedAt === null && performance.now() < until; ) {
    await new Promise((next) => setTimeout(next, 100));
    ended = await ask('GET', `/v1/sessions/${session.id}`);
  }
  tell(`${ended.state}: ${ended.reason} (${ended.evidence?.cause}: ${ended.evidence?.detail})`);
  for (const step of ended.evidence?.ladder ?? [])
    tell(
      `  ${step.step}: ${step.outcome} after ${step.tookMs} ms${step.detail === null ? '' : ` (${step.detail})`}`,
    );
  await dispose();
  process.exit(ended.reason === 'callers_left' ? 0 : 1);
} catch (error) {
  stop(error.message);
}
