/**
 * Writes forwarded lines to journald's stream socket. Because: the native protocol needs Unix datagrams, which Node lacks.
 * Source: sd_journal_stream_fd(3).
 */
import { connect } from 'node:net';
import type { Sink } from './stdout-sink.ts';
import { socketSink } from './stdout-sink.ts';

const SOCKET = '/run/systemd/journal/stdout';
/** Identifier, unit, priority 6 (info), level prefixes off, then no copy to syslog, kernel log and console. */
const HEADER = ['curfew-worker', '', '6', '0', '0', '0', '0', ''].join('\n');

export function openJournal(path = SOCKET): Sink {
  return socketSink(() => {
    const socket = connect(path);
    socket.write(HEADER);
    return socket;
  });
}
