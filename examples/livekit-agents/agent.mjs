/** A LiveKit agent, written as for LiveKit itself. Only the line `attach(session)` is for curfew, and it is optional. */
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cli, defineAgent, llm, ServerOptions, voice } from '@livekit/agents';
// In your own project: import { attach } from '@curfew/kit'
import { attach } from '../../kits/node/curfew.mjs';
import { FakeLLM, FakeSTT, FakeTTS } from './fakes.mjs';

const findOrder = llm.tool({
  name: 'findOrder',
  description: "Finds the caller's order.",
  execute: async () => {
    await pause(200);
    return 'it arrives tomorrow';
  },
});

const searchEverywhere = llm.tool({
  name: 'searchEverywhere',
  description: 'Finds an order that was lost.',
  // The mistake that this example shows: it blocks the agent's event loop for ten minutes.
  execute: async function searchEverywhere() {
    for (const until = Date.now() + 600_000; Date.now() < until; );
    return 'it is lost';
  },
});

export default defineAgent({
  entry: async (ctx) => {
    const session = new voice.AgentSession({
      stt: new FakeSTT(),
      llm: new FakeLLM(),
      tts: new FakeTTS(),
      vad: null,
      turnHandling: { turnDetection: 'stt', endpointing: { minDelay: 100, maxDelay: 500 } },
    });
    attach(session); // the line for curfew
    const agent = new voice.Agent({
      instructions: 'You answer the phone of a shop.',
      tools: [findOrder, searchEverywhere],
    });
    await session.start({ agent, room: ctx.room });
    await ctx.connect();
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url))
  cli.runApp(
    new ServerOptions({
      agent: fileURLToPath(import.meta.url),
      // On a busy host the process of a job needs more than the default of 10 s. Without a process the job is lost.
      initializeProcessTimeout: 60_000,
    }),
  );
