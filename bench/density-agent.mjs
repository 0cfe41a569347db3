/** The example agent, which LiveKit's own runner also starts on a busy machine: it refuses calls above its load limit. */

import { fileURLToPath } from 'node:url';
import { cli, ServerOptions } from '@livekit/agents';

cli.runApp(
  new ServerOptions({
    agent: fileURLToPath(new URL('../examples/livekit-agents/agent.mjs', import.meta.url)),
    initializeProcessTimeout: 60_000,
    loadFunc: async () => 0,
  }),
);
