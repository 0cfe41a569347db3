/** Finds the LiveKit server for development and tests, or builds it once with Go into .cache/. Plain JavaScript for Node 20. */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The newest version that `go install` accepts. Because: later versions have `replace` lines in go.mod. */
const VERSION = 'v1.13.5';
const MODULE = `github.com/livekit/livekit-server/cmd/server@${VERSION}`;
const BUILD_MS = 15 * 60_000;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const CACHED = join(ROOT, '.cache', 'livekit-server', VERSION, 'livekit-server');

/** @returns {string | null} LIVEKIT_SERVER, `livekit-server` on PATH, or an earlier build. null: there is none. */
export function findLiveKitBinary() {
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'livekit-server'));
  const candidates = [process.env.LIVEKIT_SERVER, ...onPath, CACHED];
  return candidates.find((path) => path !== undefined && path !== '' && isExecutable(path)) ?? null;
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Builds the server if there is none. Rejects with an error that says what to do.
 *
 * @param {(text: string) => void} onProgress
 *
 * @returns {Promise<string>} the path of the server
 */
export async function ensureLiveKitBinary(onProgress) {
  const found = findLiveKitBinary();
  if (found !== null) return found;
  if (spawnSync('go', ['version']).status !== 0) {
    throw new Error(
      'there is no livekit-server, and no Go to build one. Install livekit-server or Go 1.26, or set LIVEKIT_SERVER to a binary.',
    );
  }
  onProgress(`building livekit-server ${VERSION} with Go, once (a minute or two)`);
  await build();
  return CACHED;
}

async function build() {
  const folder = `${dirname(CACHED)}.${process.pid}`;
  mkdirSync(folder, { recursive: true });
  try {
    const child = spawn('go', ['install', MODULE], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' },
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: BUILD_MS,
    });
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    if (code !== 0)
      throw new Error(
        `livekit-server could not be built: go install ended with ${code}; see the lines above`,
      );
    mkdirSync(dirname(CACHED), { recursive: true });
    renameSync(join(folder, 'server'), CACHED);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
