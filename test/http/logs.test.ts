/** The follow of logs that grow or are cut during the reading. */
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { followLogs } from '../../src/http/log-stream.ts';
import type { MemoryApi } from '../support/api/memory-api.ts';
import { endedView, memoryApi, viewOf } from '../support/api/memory-api.ts';

/** Longer than the read-ahead of a stream. */
const LONG = 'x'.repeat(1024 * 1024);

let dir: string;
let path: string;
let api: MemoryApi;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
  path = join(dir, 'log');
  api = memoryApi();
  api.logs.push(path);
  api.sessions.set('s-1', viewOf({ id: 's-1' }));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs `meanwhile` after the first chunk and returns the text that follows until the session has ended. */
async function rest(followed: Readable, meanwhile: () => void): Promise<string> {
  const chunks = followed.iterator();
  await chunks.next();
  meanwhile();
  api.sessions.set('s-1', endedView(viewOf({ id: 's-1' })));
  let text = '';
  for await (const chunk of chunks) text += String(chunk);
  return text;
}

describe('a followed log', () => {
  it('loses nothing that the worker prints while the tail is read', async () => {
    writeFileSync(path, LONG);
    const text = await rest(followLogs(api, 's-1', LONG.length), () => appendFileSync(path, 'later\n'));
    expect(text.replaceAll('x', '')).toBe('later\n');
  });

  it('loses nothing after a cut during the reading of the tail', async () => {
    writeFileSync(path, LONG);
    const wait = api.wait;
    api.wait = async (...args) => {
      appendFileSync(path, 'later\n');
      return wait(...args);
    };
    const text = await rest(followLogs(api, 's-1', LONG.length), () => truncateSync(path, LONG.length / 2));
    expect(text.replaceAll('x', '')).toBe('later\n');
  });
});
