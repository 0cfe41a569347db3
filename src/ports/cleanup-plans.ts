/** Stored plans of cleanups. */
import type { Verdict } from '../core/workers/cleanup-verdict.ts';

/** The verdicts that a dry run showed. A real run with the plan ends exactly these processes. */
export interface CleanupPlan {
  readonly id: string;
  /** Unix time in milliseconds. */
  readonly madeAtWallMs: number;
  readonly bootId: string;
  readonly verdicts: readonly Verdict[];
}

export interface CleanupPlans {
  /** Also deletes plans that are too old. */
  save(plan: CleanupPlan): Promise<void>;
  /** null: there is no such plan, or it is too old. */
  load(id: string): Promise<CleanupPlan | null>;
}
