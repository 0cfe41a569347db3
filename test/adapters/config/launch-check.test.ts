/** The check of a LiveKit agent's command: launchers that cannot be loaded, a missing subcommand, an old Node, another name. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeVersionOf } from '../../../src/adapters/config/agent-node.ts';
import { checkLaunch } from '../../../src/adapters/config/launch-check.ts';
import { profile } from '../../core/support.ts';

/** Each command finds its file in this folder. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'curfew-launch-check-'));
  mkdirSync(join(folder, 'dist'));
  for (const file of ['agent.py', 'agent.ts', 'agent.js', 'dist/agent.js'])
    writeFileSync(join(folder, file), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const textsOf = ([program = '', ...args]: string[], version: string | null = 'v24.1.0', more: object = {}) =>
  checkLaunch(
    profile({ protocol: 'livekit', command: [program, ...args], cwd: folder, ...more }),
    () => version,
  ).map(({ level, text }) => `${level}: ${text}`);

describe('the check of the command of a LiveKit agent', () => {
  it.each([
    [['python', '-I', 'agent.py', 'start'], '-I'],
    [['/srv/venv/bin/python3.12', '-uE', 'agent.py', 'start'], '-E'],
    [['uv', 'run', 'python', '-X', 'dev', '-W', 'error', '-S', '-m', 'agent', 'start'], '-S'],
    [['python3', '-Xdev', '-I', '-c', 'run()'], '-I'],
  ])('warns that the launcher cannot be loaded in %j', (command, option) => {
    expect(textsOf(command)).toEqual([
      `warning: agents.default.command: python ${option} does not load curfew's launcher, so the agent runs with livekit_access room; remove ${option}`,
    ]);
  });

  it.each([
    [['python', '-m', 'agent', '-I']],
    [['python', '-W', 'IGNORE', '-X', 'SEI', 'agent.py', 'start', '-E']],
    [['python', '-c', 'run()', '-E']],
    [['sh', '-c', 'exec python agent.py start']],
    [['npm', 'run', 'start']],
    [['node', '--import', 'tsx', 'agent.ts', 'start']],
    [['docker', 'run', 'voice', 'elsewhere.py', 'start']],
    [['node', '-e', 'run()', 'elsewhere.js', 'start']],
    [['uv', 'run', 'agent.py', 'console']],
  ])('finds nothing in %j', (command) => {
    expect(textsOf(command)).toEqual([]);
  });

  it('warns of two arguments that a missing comma made one', () => {
    expect(textsOf(['python', 'agent.py start'])).toEqual([
      'warning: agents.default.command: "agent.py start" is one argument with a space; write agent.py, start with a comma between',
    ]);
  });

  it.each([
    [['python', 'agent.py']],
    [['node', 'dist/agent.js', 'download-files']],
  ])('warns that %j starts no agent', (command) => {
    expect(textsOf(command)).toEqual([
      `warning: agents.default.command: LiveKit's command line starts no agent without a subcommand; add "start" after "${command[1]}"`,
    ]);
  });

  it('warns that "dev" restarts the agent when a file changes', () => {
    expect(textsOf(['python', 'agent.py', 'dev'])).toEqual([
      'warning: agents.default.command: "dev" is for development, and in Python it restarts the agent when a file changes; use "start"',
    ]);
  });

  it.each([
    'none',
    'livekit',
    'curfew',
  ])('warns of a file that is not there, with protocol %s', (protocol) => {
    expect(textsOf(['python3', '-u', 'agnet.py', 'start'], null, { protocol })).toEqual([
      `warning: agents.default.command: there is no file "${folder}/agnet.py"; correct the name, or set cwd to the folder of the file`,
    ]);
  });

  it('warns of a Node without the hooks that the launcher needs', () => {
    const command = ['node', 'agent.js', 'start'];
    expect(textsOf(command, 'v22.14.0')).toEqual([
      'warning: agents.default.command: "node" is Node v22.14.0; curfew\'s launcher needs 22.15 or newer for livekit_access full and to reconnect without end',
    ]);
    for (const version of ['v22.15.0', 'v24.0.1', null]) expect(textsOf(command, version)).toEqual([]);
  });

  it('asks the Node of the command for its version', () => {
    expect(nodeVersionOf(profile({ command: [process.execPath] }), process.env)).toBe(process.version);
    expect(nodeVersionOf(profile({ command: ['/no/such/node'] }), process.env)).toBeNull();
  });

  it('leaves agents of other protocols alone', () => {
    expect(textsOf(['python', '-I', 'agent.py'], null, { protocol: 'curfew' })).toEqual([]);
  });
});

describe('the check of a profile with protocol none', () => {
  const under = (script: string, text: string, protocol = 'none') => {
    writeFileSync(join(folder, script), text);
    return textsOf(['python', script, 'start'], null, { protocol });
  };

  it.each([
    ['a.py', 'from livekit.agents import JobContext, cli\ncli.run_app(server)\n'],
    ['b.py', 'import logging\nfrom livekit import agents, rtc\nagents.cli.run_app(x)\n'],
    ['c.mjs', "import { cli, ServerOptions } from '@livekit/agents';\ncli.runApp(new ServerOptions({}));\n"],
  ])('warns of the LiveKit agent %s', (script, text) => {
    expect(under(script, text)).toEqual([
      `warning: agents.default.protocol: none, but "${script}" is written with LiveKit Agents. Such an agent gets no call of curfew. It may end with exit status 0, or register at LiveKit itself with keys of its own, such as those of a .env file. Use protocol livekit`,
    ]);
  });

  it('finds nothing in a program that serves no calls with the framework, and with another protocol', () => {
    expect(under('d.py', 'from livekit import rtc\nrun_app()\n')).toEqual([]);
    expect(under('e.py', 'from livekit.agents import utils\nutils.wait()\n')).toEqual([]);
    expect(under('f.py', 'from livekit.agents import cli\ncli.run_app(x)\n', 'livekit')).toEqual([]);
  });
});

describe("the check of a LiveKit agent's name", () => {
  let cwd: string;
  beforeAll(() => {
    cwd = mkdtempSync(join(tmpdir(), 'curfew-launch-check-'));
    writeFileSync(
      join(cwd, 'agent.py'),
      '@server.rtc_session(agent_name="voice")\nasync def run(ctx): ...\n',
    );
    writeFileSync(join(cwd, 'agent.js'), "cli.runApp(new ServerOptions({ agent, agentName: 'voice' }));\n");
    writeFileSync(join(cwd, 'two.py'), 'agent_name="voice"\nother(agent_name="notes")\nagent_name=NAME\n');
  });
  afterAll(() => rmSync(cwd, { recursive: true, force: true }));
  const named = (script: string, agentName: string | null) =>
    textsOf(['python', script, 'start'], null, { cwd, agentName });

  it.each(['agent.py', 'agent.js'])('warns of another name in the profile than in %s', (script) => {
    expect(named(script, 'greeter')).toEqual([
      `warning: agents.default.agent_name: "greeter" differs from the name "voice" in "${script}"; LiveKit's dispatch finds the agent as "greeter" only`,
    ]);
  });

  it('says that LiveKit gives no call to a profile without the name', () => {
    expect(named('agent.py', null)).toEqual([
      'note: agents.default.agent_name: missing, but "agent.py" has the name "voice"; LiveKit\'s dispatch finds the agent only with agent_name: "voice" in its profile',
    ]);
  });

  it('says nothing of the same name, or of several names', () => {
    expect([named('agent.py', 'voice'), named('two.py', 'greeter')]).toEqual([[], []]);
  });
});
