/** docs/reference/cli.md: every command, option and exit code, read off the program itself. */
import type { Argument, Option } from 'commander';
import { Command } from 'commander';
import type { Context } from '../src/cli/command-context.ts';
import { exitCodeOf } from '../src/cli/exit-codes.ts';
import { addCommands, configure } from '../src/cli/program.ts';
import { FAILED_REASONS } from '../src/core/model/reasons.ts';
import { ERRORS } from '../src/lib/errors.ts';
import { code, page, table } from './markdown.ts';

/** Nothing of it is used: no command runs. */
const CONTEXT = {} as Context;
const TERMINAL = { env: {}, isTty: false, out: ignore, raw: ignore, err: ignore, ask: async () => '' };

function ignore(): void {}

export function makeProgram(): Command {
  const program = new Command('curfew');
  configure(program, { terminal: TERMINAL, commit: null });
  addCommands(program, CONTEXT);
  return program;
}

function visibleOf(program: Command): Command[] {
  const visible = program.createHelp().visibleCommands(program);
  return program.commands.filter((one) => visible.includes(one));
}

/** By full name, such as `config check`. */
export function commandsOf(program: Command, prefix = ''): Map<string, Command> {
  return new Map(
    visibleOf(program).flatMap((one): [string, Command][] => {
      const name = `${prefix}${one.name()}`;
      return one.commands.length > 0 ? [...commandsOf(one, `${name} `)] : [[name, one]];
    }),
  );
}

/** Exit codes of a command, beside 0 and the codes of errors. Every command has an entry. */
const EXITS: Readonly<Record<string, readonly string[]>> = {
  serve: ['7: a process of a worker survived the stop.', '8: a drain is over, under systemd only.'],
  dev: ['7: a process of a worker survived the stop.', '130: a signal stopped it before it was ready.'],
  run: [
    '0: the session was released.',
    'From 10 on: the session failed, see the table below.',
    '1: it failed in a way without a code.',
  ],
  dispatch: [
    'Without `--wait`: 0 as soon as the supervisor accepted the session.',
    '0: the session is live, or it was live and ended without a failure (`--wait live`); it was released (`--wait ended`).',
    '8: `--timeout` is over. The session goes on.',
    '9: the session ended before it was live, and nothing failed (`--wait live` only).',
    'From 10 on: the session failed, see the table below.',
  ],
  list: [],
  show: [],
  logs: [],
  release: ['7: only some of the named sessions could be released.'],
  'keep-alive': [],
  capacity: [],
  reload: [],
  'config check': ['1: the config has an error.'],
  cleanup: ['7: a process survived, or this user may not signal it.'],
  drain: [],
  undrain: [],
};

const VARIABLES = [
  ['CURFEW_API', '`--socket`', 'Where the supervisor listens: a Unix socket or a URL.'],
  ['CURFEW_API_TOKEN', '`--token-file`', 'The token itself, for a URL.'],
  ['CURFEW_CONFIG', '`--config`', 'The config file.'],
  ['NO_COLOR', '`--no-color`', 'Plain text, with any value.'],
  ['LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET', '', 'LiveKit, where the config does not name it.'],
];

const TARGET = [
  '## Which supervisor a command asks',
  '',
  'A command takes the first of these that is there:',
  '',
  '1. `--socket`, else CURFEW_API: a Unix socket, or `http://HOST:PORT` for TCP.',
  '2. `listen.socket` of the config that `--config` or CURFEW_CONFIG names.',
  '3. `.curfew/curfew.sock` in the current folder (`npm start`).',
  '4. `/run/curfew/curfew.sock`.',
  '',
  'Over TCP it sends the token of `--token-file`, else of CURFEW_API_TOKEN.',
];

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function usageOf(name: string, command: Command): string {
  const args = command.registeredArguments.map(argument);
  const options = command.options.length > 0 ? ['[options]'] : [];
  return ['curfew', name, ...options, ...args].join(' ');
}

function argument(one: Argument): string {
  const name = `${one.name()}${one.variadic ? '...' : ''}`;
  return one.required ? `<${name}>` : `[${name}]`;
}

function optionRows(options: readonly Option[]): string[][] {
  return options.map((one) => [code(one.flags), initialOf(one), meaningOf(one)]);
}

function initialOf({ mandatory, defaultValue, negate }: Option): string {
  if (mandatory) return 'required';
  const isNone =
    defaultValue === undefined || negate || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isNone ? '' : code(String(defaultValue));
}

function meaningOf({ description, argChoices }: Option): string {
  const choices = argChoices === undefined ? '' : `: ${argChoices.map(code).join(', ')}`;
  return `${description}${choices}`;
}

const HEAD = ['option', 'default', 'meaning'];

function commandPart(name: string, command: Command): string[] {
  const exits = EXITS[name];
  if (exits === undefined) throw new Error(`cli-reference.ts: EXITS has no entry for "${name}"`);
  return [
    `## ${code(`curfew ${name}`)}`,
    '',
    sentence(command.description()),
    '',
    '```',
    usageOf(name, command),
    '```',
    ...(command.options.length === 0 ? [] : ['', ...table(HEAD, optionRows(command.options))]),
    ...(exits.length === 0 ? [] : ['', 'Exit codes of its own:', '', ...exits.map((one) => `- ${one}`)]),
  ];
}

function exitPart(): string[] {
  const codes = Map.groupBy(Object.entries(ERRORS), ([, { exit }]) => exit);
  const rows = [...codes]
    .sort(([a], [b]) => a - b)
    .map(([exit, errors]) => [String(exit), errors.map(([name]) => code(name)).join(', ')]);
  const failed = FAILED_REASONS.map((reason) => [
    String(exitCodeOf({ state: 'failed', reason })),
    code(reason),
  ]);
  return [
    '## Exit codes',
    '',
    'Every command exits with 0 on success. An unknown command or option and a missing argument exit with 2. An error exits by its code:',
    '',
    ...table(['exit code', 'errors'], rows),
    '',
    '[errors.md](errors.md) says what each error means. `curfew run` and `curfew dispatch --wait` exit with the reason of a failed session:',
    '',
    ...table(['exit code', 'reason'], failed),
    '',
    '[reasons.md](reasons.md) says what each reason means.',
  ];
}

export function cliReference(): string {
  const program = makeProgram();
  return page('Command line', 'the commands in src/cli/', [
    [
      'In this folder the command is `npx curfew`, after `npm run build`. An installation (`sudo npm run install:systemd`) puts `curfew` into `/usr/local/bin`. Both use the Node that comes with curfew.',
    ],
    ['## Options of every command', '', ...table(HEAD, optionRows(program.options))],
    ['## Variables', '', ...table(['variable', 'in place of', 'meaning'], VARIABLES)],
    TARGET,
    ...[...commandsOf(program)].map(([name, command]) => commandPart(name, command)),
    exitPart(),
  ]);
}
