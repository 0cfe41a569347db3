/** A claim never has two live workers: a world that answers in any order and at any time, against the core. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { WorkerId } from '../../src/core/ids.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import { agent, exited, look, Play, PROCESS, participant, profile, release, says } from './support.ts';

type Step =
  | 'wait'
  | 'born'
  | 'stillborn'
  | 'ready'
  | 'exit'
  | 'tree'
  | 'left'
  | 'absent'
  | 'closed'
  | 'release';

const ann = participant('ann');
const usual = fc.constantFrom<Step>('born', 'ready', 'exit', 'tree');
const rare = fc.constantFrom<Step>('wait', 'stillborn', 'left', 'absent', 'closed', 'release');
const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 32_000 })),
    step: fc.oneof({ weight: 3, arbitrary: usual }, { weight: 1, arbitrary: rare }),
    which: fc.nat(),
  }),
  { minLength: 5, maxLength: 60 },
);

/** An event of one worker that is possible now. Only a started worker exits, and only a worker before its start can fail to start. */
function happening(step: Step, id: WorkerId, world: World, nowMs: number): SessionEvent | null {
  const born = world.born.has(id);
  switch (step) {
    case 'born':
      return born ? null : { type: 'spawned', workerId: id, process: PROCESS };
    case 'stillborn':
      return born ? null : { type: 'spawn_failed', workerId: id, detail: 'no' };
    case 'ready':
      return born ? says({ type: 'ready' }, id) : null;
    case 'closed':
      return born ? says({ type: 'closed' }, id) : null;
    case 'exit':
      return born ? exited(1, null, id) : null;
    case 'tree':
    case 'left':
      return born ? { type: 'tree', workerId: id, left: step === 'left' ? 1 : 0 } : null;
    case 'absent':
      return look(nowMs, [ann]);
    case 'wait':
      return { type: 'tick' };
    case 'release':
      return world.releases ? release : null;
  }
}

interface World {
  readonly releases: boolean;
  readonly born: Set<string>;
  /** Workers with a requested spawn that are not known to be gone. */
  readonly alive: Set<string>;
}

/** Notes every spawn that was asked for since `seen`. No spawn may be asked for while another worker lives. */
function noteSpawns(play: Play, world: World, seen: number): number {
  for (const { effect } of play.effects.slice(seen)) {
    if (effect.do !== 'spawn') continue;
    expect([...world.alive]).toEqual([]);
    world.alive.add(effect.workerId);
  }
  return play.effects.length;
}

it.each([
  false,
  true,
])('no worker is started while an earlier one may be alive (releases: %s)', (releases) => {
  let replacements = 0;
  fc.assert(
    fc.property(steps, (story) => {
      const play = Play.live({ profile: profile({ replace: true }) }).on(100, look(100, [agent, ann]));
      const world: World = { releases, born: new Set([play.worker?.id ?? '']), alive: new Set() };
      let seen = noteSpawns(play, world, 0);
      for (const { waitMs, step, which } of story) {
        play.until(play.nowMs + waitMs);
        seen = noteSpawns(play, world, seen);
        const id = [...world.alive][which % Math.max(1, world.alive.size)] as WorkerId | undefined;
        const event = id === undefined ? null : happening(step, id, world, play.nowMs);
        if (event === null || id === undefined) continue;
        if (step === 'born') world.born.add(id);
        if (step === 'tree' || step === 'stillborn') world.alive.delete(id);
        play.on(play.nowMs, event);
        seen = noteSpawns(play, world, seen);
      }
      replacements += play.session.restarts;
    }),
    { numRuns: 1000 },
  );
  // The stories must reach what they are about.
  expect(replacements).toBeGreaterThan(30);
});
