/** Offers jobs to warm LiveKit agents and waits for their answers, so that LiveKit hears the agent's own answer. */
import type { WorkerId } from '../../core/ids.ts';
import type { AgentAnswer } from '../../core/model/agent-answer.ts';
import type { Session } from '../../core/model/session.ts';
import type { Clock } from '../../ports/clock.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import { makeAgentJob } from './agent-job-message.ts';
import type { ChannelRouter } from './channel-router.ts';

interface AnswerParts {
  readonly deps: Pick<SupervisorDeps, 'clock' | 'rooms'>;
  readonly channels: Pick<ChannelRouter, 'offer'>;
}

export class AgentAnswers {
  readonly #parts: AnswerParts;
  readonly #waiting = new Map<WorkerId, (answer: AgentAnswer) => void>();

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** null: the agent is not connected, or has not answered by then. */
  async ask(session: Session, id: WorkerId, untilMs: number): Promise<AgentAnswer | null> {
    const { deps, channels } = this.#parts;
    const job = await makeAgentJob(session, deps.rooms);
    const answered = this.#wait(id, { clock: deps.clock, untilMs });
    return channels.offer(id, job) ? answered : null;
  }

  note(id: WorkerId, answer: AgentAnswer): void {
    this.#waiting.get(id)?.(answer);
  }

  #wait(id: WorkerId, { clock, untilMs }: { clock: Clock; untilMs: number }): Promise<AgentAnswer | null> {
    return new Promise((resolve) => {
      const finish = (answer: AgentAnswer | null) => {
        cancel();
        if (this.#waiting.get(id) === finish) this.#waiting.delete(id);
        resolve(answer);
      };
      const cancel = clock.at(untilMs, () => finish(null));
      this.#waiting.set(id, finish);
    });
  }
}
