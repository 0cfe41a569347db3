/**
 * A caller: dispatches an agent into a room, joins it, speaks a tone, hears it come back and hangs up.
 * Usage: npm run call -- [--room NAME] [--agent NAME] [--seconds N] [--url URL] [--dir DIR]. Exits 0 only when all of it happened.
 * --url and LIVEKIT_API_KEY, LIVEKIT_API_SECRET: where the caller joins, if not at the LiveKit server of `npm start`.
 */
import { parseArgs } from 'node:util';
import { dispose, Room, RoomEvent, TrackKind } from '@livekit/rtc-node';
import { AccessToken } from 'livekit-server-sdk';
import { openLine } from './line.mjs';
import { hearTone, speakTone } from './tone.mjs';

const BOUND_MS = 30_000;
const LONGEST_S = 20;
const LOOK_EVERY_MS = 100;

const USAGE =
  'npm run call -- [--room NAME] [--agent NAME] [--seconds N] [--url URL] [--dir DIR]: calls the agent, speaks a tone, hears it come back, hangs up';
const { values } = readArguments();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const seconds = Number(values.seconds);
const room = values.room ?? `call-${Date.now().toString(36)}`;
const begunMs = performance.now();

function readArguments() {
  try {
    return parseArgs({
      options: {
        room: { type: 'string' },
        agent: { type: 'string' },
        seconds: { type: 'string', default: '2' },
        url: { type: 'string' },
        dir: { type: 'string', default: '.curfew' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    return stop(`${error.message}; the options are --room, --agent, --seconds, --url and --dir`);
  }
}

function tell(text) {
  console.log(`${((performance.now() - begunMs) / 1000).toFixed(2).padStart(6)} s  ${text}`);
}

function stop(text) {
  console.error(`call: ${text}`);
  process.exit(1);
}

/** Rejects after BOUND_MS: nothing here waits for ever. */
function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${BOUND_MS / 1000} s`)), BOUND_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function join({ url, apiKey, apiSecret }) {
  const token = new AccessToken(apiKey, apiSecret, { identity: `caller-${process.pid}` });
  token.addGrant({ room, roomJoin: true });
  const call = new Room();
  const voice = new Promise((resolve) => {
    call.on(RoomEvent.TrackSubscribed, (track) => track.kind === TrackKind.KIND_AUDIO && resolve(track));
  });
  const agent = new Promise((resolve) => {
    call.once(RoomEvent.ParticipantConnected, resolve);
  });
  const options = { autoSubscribe: true, dynacast: false };
  await within(`joining ${url}`, call.connect(url, await token.toJwt(), options));
  tell('in the room');
  if (call.remoteParticipants.size === 0) await within('the agent in the room', agent);
  tell('the agent is in the room');
  return { call, voice };
}

async function talk({ call, voice }) {
  const speech = await speakTone(call, seconds);
  tell(`speaking a tone for ${seconds} s`);
  const track = await within('the voice of the agent', voice);
  const heardAfterMs = await within('the tone coming back', hearTone(track, speech.begunMs));
  tell(`heard the tone come back after ${heardAfterMs} ms`);
  await within('the tone', speech.done);
}

/** Over when the session has ended, for whatever reason. */
async function untilEnded(line, id) {
  for (const untilMs = performance.now() + BOUND_MS; performance.now() < untilMs; ) {
    const session = await line.session(id);
    if (session.endedAt !== null) return session;
    await new Promise((next) => setTimeout(next, LOOK_EVERY_MS));
  }
  throw new Error(`session ${id} has not ended ${BOUND_MS / 1000} s after the hang-up`);
}

function tellEnd({ state, reason, evidence }) {
  tell(`${state}: ${reason} (${evidence?.cause}: ${evidence?.detail})`);
  for (const { step, outcome, tookMs, detail } of evidence?.ladder ?? [])
    tell(`  ${step}: ${outcome} after ${tookMs} ms${detail === null ? '' : ` (${detail})`}`);
  if (state !== 'released' || reason !== 'callers_left')
    throw new Error('the call should have been released because its caller left');
}

async function makeCall(line) {
  const session = await line.dispatch({
    room,
    ...(values.agent === undefined ? {} : { agent: values.agent }),
  });
  tell(`dispatched: session ${session.id} for room ${room}`);
  try {
    const joined = await join(line.livekit);
    await talk(joined);
    await within('hanging up', joined.call.disconnect());
    tell('hung up');
    tellEnd(await untilEnded(line, session.id));
  } catch (error) {
    // A call that failed leaves nobody waiting in the room; one that has ended needs no release.
    await line.release(session.id).catch(() => undefined);
    throw error;
  }
}

if (!(seconds > 0 && seconds <= LONGEST_S))
  stop(`--seconds ${values.seconds}: give a number above 0, at most ${LONGEST_S}`);
try {
  await makeCall(openLine({ dir: values.dir, url: values.url, boundMs: BOUND_MS }));
  await within('closing', dispose());
  process.exit(0);
} catch (error) {
  stop(error.message);
}
