/** Builds the previous release from the git history, once for all tests of an upgrade. */
import type { TestProject } from 'vitest/node';
import { ensurePrevious } from '../../scripts/previous-release.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder of the previous release, with its dist/. */
    previous: string;
  }
}

export default function setup(project: TestProject): void {
  project.provide(
    'previous',
    ensurePrevious((text) => void process.stderr.write(`curfew: ${text}\n`)),
  );
}
