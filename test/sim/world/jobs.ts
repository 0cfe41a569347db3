/** The Jobs port of one supervisor: LiveKit's dispatch offers a call, and assigns it a moment later or never. */
import type { Job, JobAnswer, Jobs, JobsListener } from '../../../src/ports/jobs.ts';
import type { Life } from './life.ts';
import type { World } from './world.ts';

export class SimJobs implements Jobs {
  readonly #world: World;
  readonly #life: Life;
  #listener: JobsListener | null = null;

  readonly #answered: (job: string, answer: JobAnswer) => void;

  /** `answered`: curfew has answered LiveKit. */
  constructor(world: World, life: Life, answered: (job: string, answer: JobAnswer) => void) {
    this.#world = world;
    this.#life = life;
    this.#answered = answered;
  }

  start(listener: JobsListener): void {
    this.#listener = listener;
  }

  async offer({ id, agentName, room }: { id: string; agentName: string; room: string }): Promise<void> {
    const job: Job = {
      id,
      agentName,
      room: { name: room, sid: '', metadata: '' },
      metadata: '',
      attributes: {},
      message: {},
    };
    const answer = await this.#listener?.offered(job);
    if (this.#life.alive && answer !== undefined) this.#answered(id, answer);
    if (!this.#life.alive || answer?.accepted !== true || this.#world.random.chance(0.1)) return;
    this.#world.after(this.#world.random.wait(100, 4_000), {
      place: 'supervisor',
      what: `LiveKit assigns ${id}`,
      life: this.#life,
      run: () => {
        if (!this.#life.dead('an assignment')) this.#listener?.assigned(id);
      },
    });
  }

  report(): void {
    this.#life.dead('a report of a job');
  }

  setLoad(): void {}

  setNames(): void {}

  status(): readonly [] {
    return [];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
