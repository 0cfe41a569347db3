/** Builds the SQL for a list of sessions, and its opaque cursor. */
import { CurfewError } from '../../lib/errors.ts';
import type { SessionQuery } from '../../ports/registry.ts';

export function listSql({ states, room, agent, user, label, cursor, limit }: SessionQuery): {
  sql: string;
  values: (string | number)[];
} {
  const placeholders = (states ?? []).map(() => '?').join(', ');
  const conditions: { sql: string; values: (string | number)[] }[] = [];
  if (states !== undefined) conditions.push({ sql: `state IN (${placeholders})`, values: [...states] });
  if (room !== undefined) conditions.push({ sql: 'room = ?', values: [room] });
  if (agent !== undefined) conditions.push({ sql: 'agent = ?', values: [agent] });
  if (user !== undefined) conditions.push({ sql: 'user = ?', values: [user] });
  if (label !== undefined)
    conditions.push({
      sql: 'EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)',
      values: [...label],
    });
  if (cursor !== undefined) conditions.push({ sql: 'seq < ?', values: [readCursor(cursor)] });
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.map((one) => one.sql).join(' AND ')}`;
  return {
    sql: `SELECT seq, body FROM sessions ${where} ORDER BY seq DESC LIMIT ?`,
    values: [...conditions.flatMap((one) => one.values), limit + 1],
  };
}

export function writeCursor(seq: number): string {
  return Buffer.from(`seq:${seq}`).toString('base64url');
}

function readCursor(text: string): number {
  const match = /^seq:(\d{1,15})$/.exec(Buffer.from(text, 'base64url').toString());
  if (match?.[1] !== undefined) return Number(match[1]);
  throw new CurfewError(
    'invalid_request',
    `cursor: "${text}" is not valid; use the nextCursor of a list answer`,
    {
      field: 'cursor',
    },
  );
}
