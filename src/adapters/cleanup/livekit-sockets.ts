/**
 * Finds processes with a TCP connection to LiveKit.
 * Source: proc(5), /proc/net/tcp. Addresses there are hexadecimal, in little-endian words.
 */
import { lookup } from 'node:dns/promises';
import { readdirSync, readFileSync } from 'node:fs';
import pTimeout from 'p-timeout';
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import { linkOf } from '../../lib/safe-files.ts';

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'ws:': 80,
  'http:': 80,
  'wss:': 443,
  'https:': 443,
};
const MAPPED_V4 = '0000000000000000FFFF0000';

/** The inodes of the host's sockets that are connected to LiveKit. `null`: LiveKit's address is unknown. */
export async function livekitSockets(url: string | null): Promise<ReadonlySet<string> | null> {
  if (url === null || !URL.canParse(url)) return null;
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const found = await pTimeout(lookup(host, { all: true }), { milliseconds: CLEANUP.lookupMs }).catch(
    () => null,
  );
  if (found === null) return null;
  const wantedPort = port === '' ? (DEFAULT_PORTS[protocol] ?? 0) : Number(port);
  const wanted = new Set(found.map((one) => remoteText(one.address, wantedPort)));
  return new Set(
    TABLES.flatMap(readTable).flatMap(({ remote, inode }) => (wanted.has(remote) ? [inode] : [])),
  );
}

/** False also if the process's descriptors are not readable. */
export function holdsSocket(pid: number, sockets: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode !== undefined && sockets.has(inode);
    });
  } catch {
    return false;
  }
}

function readTable(path: string): { remote: string; inode: string }[] {
  try {
    return readFileSync(path, 'latin1').split('\n').slice(1).flatMap(parseLine);
  } catch {
    return [];
  }
}

function parseLine(line: string): { remote: string; inode: string }[] {
  const fields = line.trim().split(/\s+/);
  const [remote, inode] = [fields[2], fields[9]];
  if (remote === undefined || inode === undefined) return [];
  return [{ remote: remote.replace(new RegExp(`^${MAPPED_V4}`), ''), inode }];
}

/** Formats an address like /proc/net/tcp. */
function remoteText(address: string, port: number): string {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const bytes = address.includes(':') ? bytesOfV6(address) : address.split('.').map(Number);
  const words = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.slice(index * 4, index * 4 + 4));
  const hex = words.map((word) =>
    word
      .reverse()
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(''),
  );
  return `${hex.join('').toUpperCase()}:${hexPort}`;
}

function bytesOfV6(address: string): number[] {
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const groups = (text: string) => text.split(':').filter((one) => one !== '');
  const [front, back] = [groups(head), groups(tail ?? '')];
  const all = [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back];
  return all.flatMap((one) => [Number.parseInt(one, 16) >> 8, Number.parseInt(one, 16) & 255]);
}
