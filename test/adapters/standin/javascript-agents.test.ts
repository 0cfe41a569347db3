/** LiveKit Agents for JavaScript, unchanged. */
import { describeFramework } from './frameworks.ts';

describeFramework('javascript', 120_000);
