/** A zygote of the real Python framework before its first fork. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findPythonAgents } from '../../../scripts/python-agents.mjs';
import { ROOT } from '../../support/daemon/daemon.ts';

const PYTHON = findPythonAgents();
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
    const { stdout, stderr } = spawnSync(PYTHON ?? '', ['-c', CODE], {
      encoding: 'utf8',
      timeout: 60_000,
      env: {
        PATH: process.env.PATH ?? '',
        PYTHONPATH: join(ROOT, 'kits/python/launch'),
        CURFEW_ZYGOTE: '1',
        CURFEW_WORKER: 'instance/zygote-1.1',
      },
    });
    expect(JSON.parse(stdout || 'null'), stderr).toEqual({
      reason: null,
      imports: [],
      built: true,
      certificates: 1,
    });
  },
);
