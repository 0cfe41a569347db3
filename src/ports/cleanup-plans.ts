import type { Verdict } from '../core/workers/cleanup-verdict.ts';

/** A dry run's verdicts as they were shown, for a real run that ends exactly those. */
export interface CleanupPlan {
  readonly id: string;
  readonly madeAtWallMs: number;
  readonly bootId: string;
  readonly verdicts: readonly Verdict[];
}

export interface CleanupPlans {
  /** Forgets those that are too old. */
  save(plan: CleanupPlan): Promise<void>;
  load(id: string): Promise<CleanupPlan | null>;
}
