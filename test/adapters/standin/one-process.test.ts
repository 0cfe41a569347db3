/** Which agents of the real Python framework keep their own executor when a zygote forks their workers. */
import { expect, it } from 'vitest';
import { PYTHON, runInZygote } from '../../support/workers/zygote-python.ts';

const CODE = `
from livekit.agents import AgentServer, JobExecutorType, WorkerOptions
from curfew_launch import one_process
async def entrypoint(ctx): pass
made = [
    AgentServer(),
    AgentServer(job_executor_type=JobExecutorType.PROCESS),
    AgentServer.from_server_options(WorkerOptions(entrypoint_fnc=entrypoint)),
    AgentServer.from_server_options(WorkerOptions(entrypoint_fnc=entrypoint, job_executor_type=JobExecutorType.PROCESS)),
]
for one in made:
    one_process.prepare(one)
print([one._job_executor_type.name for one in made])`;

it.runIf(PYTHON !== null)(
  'an agent that asks for an executor keeps it, and any other has one process',
  () => {
    const { stdout, stderr } = runInZygote(CODE, {
      LIVEKIT_URL: 'ws://127.0.0.1:1',
      LIVEKIT_API_KEY: 'key',
      LIVEKIT_API_SECRET: 'secret',
    });
    expect(stdout.trim(), stderr).toBe("['THREAD', 'PROCESS', 'THREAD', 'PROCESS']");
  },
);
