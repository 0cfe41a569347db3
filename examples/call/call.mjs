/**
 * A caller: dispatches an agent into a room, joins the room, speaks a tone, hears the answer and hangs up.
 * Usage: `npm run call -- [--room NAME] [--agent NAME] [--seconds N] [--url URL] [--dir DIR]`.
 * The exit code is 0 only if every step succeeded.
 * The caller joins at the LiveKit server of `npm start`, or at --url with LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
 */
import { parseArgs } from 'node:util';
import { dispose, Room, RoomEvent, TrackKind } from '@livekit/rtc-node';
import { AccessToken } from 'livekit-server-sdk';
import { openLine } from './line.mjs';
import { hearTone, speakTone } from './tone.mjs';

const BOUND_MS = 30_000;
const LONGEST_S = 20;
const POLL_MS = 100;

const USAGE = [
  'npm run call -- [--room NAME] [--agent NAME] [--seconds N] [--url URL] [--dir DIR]',
  'Calls the agent, speaks a tone, hears the answer and hangs up.',
].join('\n');
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

function print(text) {
  console.log(`${((performance.now() - begunMs) / 1000).toFixed(2).padStart(6)} s  ${text}`);
}

function stop(text) {
  console.error(`call: ${text}`);
  process.exit(1);
}

/** Rejects after BOUND_MS, so that no step waits for ever. */
function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${BOUND_MS / 1000} s`)), BOUND_MS);
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
  print('in the room');
  if (call.remoteParticipants.size === 0) await within('the agent in the room', agent);
  print('the agent is in the room');
  return { call, voice };
}

async function talk({ call, voice }) {
  const speech = await speakTone(call, seconds);
  print(`speaking a tone for ${seconds} s`);
  const track = await within('the voice of the agent', voice);
  const heardAfterMs = await within('the answer of the agent', hearTone(track, speech.begunMs));
  print(`heard the tone come back after ${heardAfterMs} ms`);
  await within('the tone', speech.done);
}

/** Resolves with the ended session. Rejects after BOUND_MS. */
async function untilEnded(line, id) {
  for (const untilMs = performance.now() + BOUND_MS; performance.now() < untilMs; ) {
    const session = await line.session(id);
    if (session.endedAt !== null) return session;
    await new Promise((next) => setTimeout(next, POLL_MS));
  }
  throw new Error(`session ${id} has not ended ${BOUND_MS / 1000} s after the hang-up`);
}

function printEnd({ state, reason, evidence }) {
  print(`${state}: ${reason} (${evidence?.cause}: ${evidence?.detail})`);
  for (const { step, outcome, tookMs, detail } of evidence?.ladder ?? [])
    print(`  ${step}: ${outcome} after ${tookMs} ms${detail === null ? '' : ` (${detail})`}`);
  if (state !== 'released' || reason !== 'callers_left')
    throw new Error(`the session ended as ${state}: ${reason}, expected was released: callers_left`);
}

async function makeCall(line) {
  const session = await line.dispatch({
    room,
    ...(values.agent === undefined ? {} : { agent: values.agent }),
  });
  print(`dispatched: session ${session.id} for room ${room}`);
  try {
    const joined = await join(line.livekit);
    await talk(joined);
    await within('hanging up', joined.call.disconnect());
    print('hung up');
    printEnd(await untilEnded(line, session.id));
  } catch (error) {
    // Release a failed call, so that no agent waits in the room. An ended session ignores this.
    await line.release(session.id).catch(() => undefined);
    throw error;
  }
}

if (!(seconds > 0 && seconds <= LONGEST_S))
  stop(`--seconds: "${values.seconds}" is not a number above 0 and at most ${LONGEST_S}`);
try {
  await makeCall(openLine({ dir: values.dir, url: values.url, boundMs: BOUND_MS }));
  await within('closing', dispose());
  process.exit(0);
} catch (error) {
  stop(error.message);
}
