/** A tone into a room, and an ear for it. */
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

/** Publishes a track and begins to speak; `done` resolves when the last sample was played. */
export async function speakTone(room, seconds) {
  const source = new AudioSource(SAMPLE_RATE, 1);
  const options = new TrackPublishOptions();
  options.source = TrackSource.SOURCE_MICROPHONE;
  await room.localParticipant.publishTrack(LocalAudioTrack.createAudioTrack('caller', source), options);
  const begunMs = performance.now();
  const done = speak(source, seconds);
  // Whoever awaits it later is told; until then a failure is no crash.
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

/** After how many milliseconds since `sinceMs` the tone was heard. Rejects when the track ends without it. */
export async function hearTone(track, sinceMs) {
  for await (const { data } of new AudioStream(track, SAMPLE_RATE, 1))
    if (levelOf(data) > HEARD_LEVEL) return Math.round(performance.now() - sinceMs);
  throw new Error('the agent hung up before the tone came back');
}

/** How loud the tone is in these samples: Goertzel's filter. */
function levelOf(samples) {
  const coefficient = 2 * Math.cos((2 * Math.PI * TONE_HZ) / SAMPLE_RATE);
  let before = 0;
  let last = 0;
  for (const sample of samples) [before, last] = [last, sample + coefficient * last - before];
  const power = before ** 2 + last ** 2 - coefficient * before * last;
  return (2 * Math.sqrt(Math.max(0, power))) / samples.length;
}
