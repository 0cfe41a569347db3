/**
 * The example agent: a parrot. It joins its room and says back what it hears, a moment later.
 * Everything about curfew is in the lines that say `curfew`; the rest is LiveKit's SDK.
 */
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
import { connect } from '../../kits/node/curfew.mjs';

const SAMPLE_RATE = 48_000;
const DELAY_MS = 300;
const SPEECH_LEVEL = 500;
const REPORT_MS = 1000;

const curfew = connect();
const room = new Room();
const source = new AudioSource(SAMPLE_RATE, 1);
let reportedMs = 0;

room.on(RoomEvent.TrackSubscribed, (track, _publication, participant) => {
  if (track.kind === TrackKind.KIND_AUDIO)
    repeat(track, participant.identity).catch((error) => curfew.error(error, 'audio'));
});

const { livekitUrl, livekitToken } = curfew.job;
if (!livekitUrl || !livekitToken)
  throw new Error(
    'the parrot needs LIVEKIT_URL and LIVEKIT_TOKEN; curfew sets both when LiveKit is configured',
  );
await room.connect(livekitUrl, livekitToken, { autoSubscribe: true, dynacast: false });
const options = new TrackPublishOptions();
options.source = TrackSource.SOURCE_MICROPHONE;
await room.localParticipant?.publishTrack(LocalAudioTrack.createAudioTrack('parrot', source), options);
console.log('in the room');
curfew.onDisconnect(leave);
curfew.ready();
process.once('SIGTERM', () => void leave().then(() => process.exit(0)));

/** Plays what a caller said, a little later. */
async function repeat(track, who) {
  console.log('listening to', who);
  const waiting = [];
  for await (const frame of new AudioStream(track, SAMPLE_RATE, 1)) {
    waiting.push(
      new AudioFrame(frame.data.slice(), frame.sampleRate, frame.channels, frame.samplesPerChannel),
    );
    if (loudest(frame.data) > SPEECH_LEVEL) report();
    if (queuedMs(waiting) > DELAY_MS) await source.captureFrame(waiting.shift());
  }
}

function report() {
  if (Date.now() - reportedMs < REPORT_MS) return;
  reportedMs = Date.now();
  curfew.activity('caller_speech');
  curfew.ok();
}

function queuedMs(frames) {
  return frames.reduce((sum, frame) => sum + (1000 * frame.samplesPerChannel) / frame.sampleRate, 0);
}

function loudest(samples) {
  return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

async function leave() {
  await room.disconnect();
  await dispose();
}
