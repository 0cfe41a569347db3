/** The connection to the supervisor of `npm start`: its Unix socket, and the address of its LiveKit server. */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';

/** Throws an error that says what to do when there is no supervisor or no LiveKit server. */
export function openLine({ dir, url, boundMs }) {
  const ask = asker({ socketPath: join(dir, 'curfew.sock'), boundMs });
  return {
    livekit: findLiveKit(dir, url),
    dispatch: (body) => ask('POST', '/v1/sessions', body),
    session: (id) => ask('GET', `/v1/sessions/${id}`),
    release: (id) => ask('POST', `/v1/sessions/${id}/release`, {}),
  };
}

function findLiveKit(dir, url) {
  const livekit = readAccess(dir);
  const { LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } = process.env;
  if (url !== undefined) return { ...keysOf(livekit, { apiKey, apiSecret }), url };
  if (livekit === null)
    throw new Error(
      'npm start runs without LiveKit, so no call is possible; its output says how to get LiveKit',
    );
  return livekit;
}

function keysOf(livekit, given) {
  if (given.apiKey && given.apiSecret) return given;
  if (livekit === null) throw new Error('--url needs LIVEKIT_API_KEY and LIVEKIT_API_SECRET; set both');
  return { apiKey: livekit.apiKey, apiSecret: livekit.apiSecret };
}

/** The access that `npm start` writes when it is ready and removes at its end. null: it runs without LiveKit. */
function readAccess(dir) {
  try {
    return JSON.parse(readFileSync(join(dir, 'dev.json'), 'utf8')).livekit;
  } catch {
    throw noSupervisor(dir);
  }
}

function noSupervisor(path) {
  return new Error(
    `there is no supervisor for development at ${path}; run npm start first, in another terminal`,
  );
}

function asker({ socketPath, boundMs }) {
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const asked = request({ socketPath, method, path, headers, timeout: boundMs }, async (answer) => {
        const text = Buffer.concat(await answer.toArray()).toString();
        const data = JSON.parse(text);
        if (answer.statusCode < 400) resolve(data);
        else reject(new Error([data.detail, data.hint].filter(Boolean).join('. ')));
      });
      asked.on('error', (error) =>
        reject(['ENOENT', 'ECONNREFUSED'].includes(error.code) ? noSupervisor(socketPath) : error),
      );
      asked.on('timeout', () => asked.destroy(new Error(`${path}: no answer within ${boundMs} ms`)));
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
}
