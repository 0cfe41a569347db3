/** livekit-agents of Python, unchanged. */
import { describeFramework } from './frameworks.ts';

describeFramework('python', 120_000);
