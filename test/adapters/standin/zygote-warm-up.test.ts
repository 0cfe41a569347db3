/** A zygote of the real Python framework before its first fork. */
import { expect, it } from 'vitest';
import { PYTHON, runInZygote } from '../../support/workers/zygote-python.ts';

const CODE = `
import json, os, sys
# The test runner passes on descriptors of its own.
os.closerange(3, 256)
import livekit.agents, numpy
from curfew_launch import fork_check, warm_up, zygote
warm_up.warm_up()
before = set(sys.modules)
reason = fork_check.why_not()
zygote.prepare_worker(lambda: None)
from livekit.agents.llm import ChatMessage
from livekit.agents.utils import http_context
import multiprocessing.forkserver
print(json.dumps({
    "reason": reason,
    "imports": sorted(set(sys.modules) - before),
    "built": ChatMessage.__pydantic_complete__,
    "certificates": http_context._ssl_context_for.cache_info().currsize,
}))`;

it.runIf(PYTHON !== null)(
  'a zygote of the real framework stays fit for a fork after its warm-up, and a worker imports nothing that every worker needs',
  () => {
    const { stdout, stderr } = runInZygote(CODE, { CURFEW_WORKER: 'instance/zygote-1.1' });
    expect(JSON.parse(stdout || 'null'), stderr).toEqual({
      reason: null,
      imports: [],
      built: true,
      certificates: 1,
    });
  },
);
