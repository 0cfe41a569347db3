/**
 * The example agent: a parrot. It joins its room and repeats each caller's speech after a short delay.
 * Only the lines with the word `curfew` are about curfew. The rest is LiveKit's SDK.
 */
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  dispose,
  LocalAudioTrack,
  ParticipantKind,
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
const REPORT_EVERY_MS = 1000;
const LEAVE_MS = 3000;

const curfew = connect();
const { livekitUrl, livekitToken } = curfew.job;
if (!livekitUrl || !livekitToken)
  throw new Error(
    'LIVEKIT_URL or LIVEKIT_TOKEN is not set; curfew sets both if its config names a LiveKit server',
  );

const room = new Room();
room.on(RoomEvent.TrackSubscribed, (track, _publication, participant) => {
  if (track.kind !== TrackKind.KIND_AUDIO || participant.kind === ParticipantKind.AGENT) return;
  console.log('listening to a caller');
  repeat(track).catch((error) => curfew.error(error, 'audio'));
});
await room.connect(livekitUrl, livekitToken, { autoSubscribe: true, dynacast: false });
const freeVoices = [await publishVoice()];
console.log('in the room');

curfew.onDisconnect(leave);
process.once('SIGTERM', () => leave().finally(() => process.exit(0)));
curfew.ready();

async function publishVoice() {
  const source = new AudioSource(SAMPLE_RATE, 1);
  const options = new TrackPublishOptions();
  options.source = TrackSource.SOURCE_MICROPHONE;
  await room.localParticipant.publishTrack(LocalAudioTrack.createAudioTrack('parrot', source), options);
  return source;
}

/** Repeats one caller's speech until the caller leaves. Each caller hears a separate audio track. */
async function repeat(track) {
  const voice = freeVoices.pop() ?? (await publishVoice());
  const heard = [];
  for await (const { data, sampleRate, channels, samplesPerChannel } of new AudioStream(
    track,
    SAMPLE_RATE,
    1,
  )) {
    if (isSpeech(data)) report('caller_speech');
    heard.push(new AudioFrame(data.slice(), sampleRate, channels, samplesPerChannel));
    if (durationMs(heard) > DELAY_MS) await say(voice, heard.shift());
  }
  for (const frame of heard) await say(voice, frame);
  freeVoices.push(voice);
}

async function say(voice, frame) {
  if (isSpeech(frame.data)) report('agent_speech');
  await voice.captureFrame(frame);
}

/** At most one report of each kind per second, which is enough to restart the idle timeout. */
function report(kind) {
  if (Date.now() - (report[kind] ?? 0) < REPORT_EVERY_MS) return;
  report[kind] = Date.now();
  curfew.activity(kind);
  curfew.ok();
}

function isSpeech(samples) {
  return samples.some((sample) => Math.abs(sample) > SPEECH_LEVEL);
}

function durationMs(frames) {
  return frames.reduce((sum, frame) => sum + (1000 * frame.samplesPerChannel) / frame.sampleRate, 0);
}

/** Bounded, because a server that does not answer must not keep the process alive. */
async function leave() {
  const late = setTimeout(() => process.exit(1), LEAVE_MS);
  await room.disconnect();
  await dispose();
  clearTimeout(late);
}
