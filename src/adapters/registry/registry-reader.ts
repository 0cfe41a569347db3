/** Reads the registry without its supervisor. It writes nothing, not even the schema. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { asSession } from '../../core/admission/stored-record.ts';
import type { SessionId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import { isPlainFile } from '../../lib/safe-files.ts';
import type { RegistryReader } from '../../ports/registry.ts';
import { REGISTRY_FILE } from './registry-client.ts';

/** `unreadable` is the reason: the registry does not exist or cannot be read. */
export function openRegistryReader(stateDir: string): RegistryReader | { readonly unreadable: string } {
  const path = join(stateDir, REGISTRY_FILE);
  if (!isPlainFile(path)) return { unreadable: `there is no registry at ${path}` };
  try {
    const database = new DatabaseSync(path, { readOnly: true, timeout: 1000 });
    const open = database.prepare('SELECT body FROM sessions WHERE ended_wall_ms IS NULL');
    const get = database.prepare('SELECT body FROM sessions WHERE id = ?');
    return {
      open: async () => open.all().flatMap((row) => readBody(row) ?? []),
      get: async (id: SessionId) => {
        const row = get.get(id);
        return row === undefined ? null : readBody(row);
      },
      close: () => database.close(),
    };
  } catch (error) {
    return { unreadable: `the registry ${path} cannot be read: ${messageOf(error)}` };
  }
}

/** `null`: the record is damaged. Then the worker's folder may still name the session. */
function readBody(row: Record<string, unknown>): Session | null {
  try {
    return asSession(JSON.parse(String(row.body)));
  } catch {
    return null;
  }
}
