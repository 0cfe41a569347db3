/** LiveKit Agents for JavaScript, unchanged. */
import { describe } from 'vitest';
import { testFramework } from './frameworks.ts';

describe('an unchanged javascript agent', { timeout: 120_000 }, () => testFramework('javascript'));
