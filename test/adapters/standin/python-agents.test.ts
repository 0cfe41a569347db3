/** livekit-agents of Python, unchanged. */
import { describe } from 'vitest';
import { testFramework } from './frameworks.ts';

const TEST_MS = 120_000;

describe('an unchanged python agent', { timeout: TEST_MS }, () => testFramework('python'));
