/**
 * Requests to curfew itself. They use neither `fetch` nor an agent of Node.
 * Because: a proxy of the agent's environment or code cannot reach this host's loopback address.
 */
import http from 'node:http';
import net from 'node:net';
import { HTTP_URL } from './own-keys.mjs';

const { request } = http;
/** These answers have no body. */
const EMPTY = new Set([204, 304]);

/** The options of `http.request` for curfew's address. */
export function toCurfew() {
  const { hostname: host, port } = new URL(HTTP_URL);
  return {
    protocol: 'http:',
    host,
    port,
    agent: undefined,
    createConnection: () => net.connect({ host, port: Number(port) }),
  };
}

/** Takes a text or bytes as the body, as the SDK sends them, and answers as `fetch` does. */
export function fetchFromCurfew(path, { method = 'GET', headers, body, signal }) {
  return new Promise((resolve, reject) => {
    const sent = request({ ...toCurfew(), path, method, headers: headersOf(headers, body), signal });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => resolve(answer(response, Buffer.concat(chunks))));
    });
    sent.end(body);
  });
}

function headersOf(headers, body) {
  const given = Object.fromEntries(new Headers(headers));
  return { ...given, connection: 'close', 'content-length': body == null ? 0 : Buffer.byteLength(body) };
}

function answer({ statusCode, headers }, body) {
  const type = headers['content-type'];
  return new Response(EMPTY.has(statusCode) ? null : body, {
    status: statusCode,
    headers: type === undefined ? {} : { 'content-type': type },
  });
}
