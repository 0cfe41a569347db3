/** Writes forwarded lines to stdout. Never blocks, except on a plain file. */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import { FORWARD } from '../../../lib/limits/forward-limits.ts';

/** One write at a time. `done` gets the error of a failed write. */
export interface Sink {
  write(text: string, done: (error: Error | null) => void): void;
  close(): void;
}

const STDOUT = 1;

export function openStdout(): Sink {
  const info = fstatSync(STDOUT);
  if (info.isFIFO() || info.isSocket()) return socketSink(() => stdoutSocket(info.isFIFO()));
  return isatty(STDOUT) ? terminalSink() : fileSink();
}

/**
 * Because: the flag O_NONBLOCK belongs to all processes that share the pipe. A second opening of the pipe has its own flags.
 * A socket cannot be opened twice. libuv never closes descriptor 1. Source: open(2), libuv `uv__stream_close`.
 */
function stdoutSocket(isPipe: boolean): Socket {
  return new Socket({ fd: (isPipe && reopened()) || STDOUT, readable: false, writable: true });
}

/** `null`: another user made the pipe. */
function reopened(): number | null {
  try {
    return openSync(`/proc/self/fd/${STDOUT}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return null;
  }
}

/** After an error the next write opens a new connection. */
export function socketSink(open: () => Socket): Sink {
  let socket: Socket | null = null;
  let pending: ((error: Error | null) => void) | null = null;
  const settle = (error: Error | null) => {
    const done = pending;
    pending = null;
    done?.(error);
  };
  const opened = () => {
    const made = open();
    made.on('error', (error) => {
      if (socket === made) socket = null;
      settle(error);
    });
    made.on('close', () => {
      if (socket === made) socket = null;
      settle(new Error('the reader closed the connection'));
    });
    return made;
  };
  return {
    write(text, done) {
      pending = done;
      try {
        socket ??= opened();
        socket.write(text, (error) => error == null && settle(null));
      } catch (error) {
        settle(error as Error);
      }
    },
    close: () => socket?.destroy(),
  };
}

/** A file takes each write. A full disk is an error. */
function fileSink(): Sink {
  return {
    write: (text, done) => {
      let error: Error | null = null;
      try {
        writeAll(STDOUT, Buffer.from(text));
      } catch (caught) {
        error = caught as Error;
      }
      setImmediate(done, error);
    },
    close: () => undefined,
  };
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** A stopped terminal (Ctrl-S) takes nothing. */
function terminalSink(): Sink {
  const own = reopened();
  const fd = own ?? STDOUT;
  let timer: NodeJS.Timeout | undefined;
  const writeRest = (rest: Buffer, done: (error: Error | null) => void): void => {
    let left = rest;
    try {
      while (left.length > 0) left = left.subarray(writeSync(fd, left));
      setImmediate(done, null);
    } catch (error) {
      const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN';
      if (isFull) timer = setTimeout(writeRest, FORWARD.terminalMs, left, done);
      else setImmediate(done, error as Error);
    }
  };
  return {
    write: (text, done) => writeRest(Buffer.from(text), done),
    close: () => {
      clearTimeout(timer);
      if (own !== null) closeSync(own);
    },
  };
}
