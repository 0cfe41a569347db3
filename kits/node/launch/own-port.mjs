/**
 * Lets a server of the agent's own code start in its main process, such as one for its metrics.
 * Because: each call has a main process of its own, so a fixed port is free for the first one only. The others take any free port.
 */
import net from 'node:net';
import { note } from '../note.mjs';
import { frameworkOf } from './early.mjs';

export function shareOwnPorts() {
  const { listen } = net.Server.prototype;
  net.Server.prototype.listen = function listenBesideOthers(...args) {
    const port = portOf(args[0]);
    if (port > 0) whenTaken(this, port, () => Reflect.apply(listen, this, withAnyPort(args)));
    return Reflect.apply(listen, this, args);
  };
}

function portOf(first) {
  return Number(first !== null && typeof first === 'object' ? first.port : first);
}

/** Without the callback, which waits for the first success already. */
function withAnyPort([first, ...rest]) {
  const any = first !== null && typeof first === 'object' ? { ...first, port: 0 } : 0;
  return [any, ...rest.filter((one) => typeof one !== 'function')];
}

/** The code hears no error, and then `listening`. */
function whenTaken(server, port, again) {
  const { emit } = server;
  server.emit = function emitOrListen(name, ...args) {
    if (name === 'listening' || name === 'error') server.emit = emit;
    if (name !== 'error' || args[0]?.code !== 'EADDRINUSE' || !isAgent())
      return Reflect.apply(emit, this, [name, ...args]);
    note(
      `curfew: port ${port} is taken, so the agent's own server takes any free port: each call has a main process of its own`,
    );
    again();
    return true;
  };
}

/** Two jobs with one port clash under LiveKit's own runner, too. Their program is a file of the framework. */
function isAgent() {
  try {
    return frameworkOf(process.argv[1]) !== null;
  } catch {
    return false;
  }
}
