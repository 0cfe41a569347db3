/** The last output of a worker whose start failed, for a person at a terminal. */
import { CLI } from '../lib/limits/api-limits.ts';
import type { Client } from './daemon-client.ts';
import { safe, wrap } from './terminal-text.ts';

const PORT = /EADDRINUSE|address already in use|\bport\b.*\bin use\b/i;

/** Empty: there is no output, or the caller's token may not read it. */
export async function startOutput(client: Client, id: string): Promise<string> {
  const text = await readEnd(client, id).catch(() => '');
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return '';
  const shown = lines.slice(-CLI.shownLines).map((line) => `    ${safe(line.slice(0, CLI.shownChars))}`);
  const hint = lines.some((line) => PORT.test(line)) ? [`  ${wrap(PORT_HINT, 2)}`] : [];
  return ['  The last lines of its log:', ...shown, ...hint].join('\n');
}

const PORT_HINT =
  "Another process has the port. Without curfew's launcher in them, two LiveKit agents of one host use the same port, such as 8081.";

async function readEnd(client: Client, id: string): Promise<string> {
  const stream = await client.stream(
    `/v1/sessions/${encodeURIComponent(id)}/logs?tailBytes=${CLI.shownBytes}&follow=0`,
  );
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
