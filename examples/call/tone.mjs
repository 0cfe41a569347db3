/** Speaks a tone into a room, and detects a tone. */
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  LocalAudioTrack,
  TrackPublishOptions,
  TrackSource,
} from '@livekit/rtc-node';

const SAMPLE_RATE = 48_000;
const FRAME_SAMPLES = SAMPLE_RATE / 100;
const TONE_HZ = 440;
const AMPLITUDE = 10_000;
const HEARD_LEVEL = 1000;

/** Publishes a track and starts the tone. `done` resolves after the last sample. */
export async function speakTone(room, seconds) {
  const source = new AudioSource(SAMPLE_RATE, 1);
  const options = new TrackPublishOptions();
  options.source = TrackSource.SOURCE_MICROPHONE;
  await room.localParticipant.publishTrack(LocalAudioTrack.createAudioTrack('caller', source), options);
  const begunMs = performance.now();
  const done = speak(source, seconds);
  // The caller awaits `done` later. Until then a failure must not end the process.
  done.catch(() => undefined);
  return { begunMs, done };
}

async function speak(source, seconds) {
  for (let at = 0; at < seconds * SAMPLE_RATE; at += FRAME_SAMPLES) {
    const wave = (_, index) => AMPLITUDE * Math.sin((2 * Math.PI * TONE_HZ * (at + index)) / SAMPLE_RATE);
    const data = Int16Array.from({ length: FRAME_SAMPLES }, wave);
    await source.captureFrame(new AudioFrame(data, SAMPLE_RATE, 1, FRAME_SAMPLES));
  }
  await source.waitForPlayout();
}

/** Milliseconds from `sinceMs` to the tone in the track. Rejects when the track ends without a tone. */
export async function hearTone(track, sinceMs) {
  for await (const { data } of new AudioStream(track, SAMPLE_RATE, 1))
    if (levelOf(data) > HEARD_LEVEL) return Math.round(performance.now() - sinceMs);
  throw new Error('the agent hung up before its answer');
}

/** The level of the tone in these samples, by Goertzel's filter. */
function levelOf(samples) {
  const coefficient = 2 * Math.cos((2 * Math.PI * TONE_HZ) / SAMPLE_RATE);
  let before = 0;
  let last = 0;
  for (const sample of samples) [before, last] = [last, sample + coefficient * last - before];
  const power = before ** 2 + last ** 2 - coefficient * before * last;
  return (2 * Math.sqrt(Math.max(0, power))) / samples.length;
}
