/** Objects that look like a child process to the framework. */
import { EventEmitter } from 'node:events';
import { fileURLToPath } from 'node:url';
import { note } from '../note.mjs';

/** The first argument of `fork`, as a path. */
export function pathOf(file) {
  return file instanceof URL ? fileURLToPath(file) : `${file}`.replace(/^file:\/\//, '');
}

/** A child process, as far as the framework uses one. */
export class Child extends EventEmitter {
  pid = process.pid;
  connected = true;
  exitCode = null;
  killed = false;

  /** The framework gets a message as from another process: later, and as a copy. */
  tell(message) {
    const copy = copyOf(message);
    setImmediate(() => this.emit('message', copy));
  }

  ends(code) {
    if (!this.connected) return;
    this.connected = false;
    this.exitCode = code;
    setImmediate(() => this.emit('exit', code, null));
  }
}

/** The framework keeps an idle process for its next job. A worker of curfew has no next job. */
export class IdleChild extends Child {
  send(message) {
    switch (message?.case) {
      case 'initializeRequest':
        this.tell({ case: 'initializeResponse' });
        break;
      case 'pingRequest':
        this.tell(pongOf(message));
        break;
      case 'shutdownRequest':
        this.tell({ case: 'shutdownRequestAck' });
        this.tell({ case: 'shuttingDown' });
        this.ends(0);
        break;
      default:
        note(`curfew: this worker has had its job, so it takes no ${message?.case}`);
        this.ends(1);
    }
    return true;
  }

  kill() {
    this.killed = true;
    this.ends(null);
    return true;
  }
}

export function pongOf({ value: { timestamp } }) {
  return { case: 'pongResponse', value: { lastTimestamp: timestamp, timestamp: Date.now() } };
}

/** As JSON, like the framework's own channel. */
export function copyOf(message) {
  return JSON.parse(JSON.stringify(message));
}
