/** curfew's own log: JSON lines by pino on stderr. Fields with secrets are removed by path. */
import { pino } from 'pino';
import type { Log } from '../../ports/log.ts';
import { createStderr } from './stderr-writer.ts';

const SECRETS = [
  'token',
  'apiKey',
  'apiSecret',
  'authorization',
  '*.token',
  '*.apiKey',
  '*.apiSecret',
  '*.authorization',
  'env',
  '*.env',
];

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** `text` is for a terminal, `json` for a journal. */
  readonly format: 'json' | 'text';
}

export function createLog({ level, format }: LogOptions): Log {
  if (format === 'text') return textLog(level);
  return pino(
    { level, base: null, redact: SECRETS, timestamp: pino.stdTimeFunctions.isoTime },
    createStderr((lines) => `${JSON.stringify({ level: 50, lines, msg: LOST })}\n`),
  );
}

const LOST = 'this log could not be written: lines are missing here';

const RANK = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const;

/** Writes one short line per entry, for `curfew dev` and `curfew run`. */
function textLog(level: LogOptions['level']): Log {
  const stderr = createStderr((lines) => `error ${LOST}  lines=${lines}\n`);
  const write = (name: 'debug' | 'info' | 'warn' | 'error') => (fields: object, message: string) => {
    if (RANK[name] < RANK[level]) return;
    const facts = Object.entries(fields).flatMap(([key, value]) =>
      value == null || SECRETS.includes(key) ? [] : [`${key}=${String(value)}`],
    );
    stderr.write(
      `${new Date().toISOString().slice(11, 23)} ${name.padEnd(5)} ${message}${facts.length > 0 ? `  ${facts.join(' ')}` : ''}\n`,
    );
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}
