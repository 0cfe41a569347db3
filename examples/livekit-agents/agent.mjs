/** A LiveKit agent as one writes it for LiveKit itself. One line in it is for curfew, and may be left out. */
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
  // The mistake that this example is about: nothing else of the agent runs for ten minutes.
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
      // A busy host needs more than its 10 s to start the process of a job, and a job that has none is lost.
      initializeProcessTimeout: 60_000,
    }),
  );
