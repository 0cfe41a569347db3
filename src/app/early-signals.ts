/**
 * Signals that come before the supervisor listens to them. Without a handler SIGHUP ends the process, and SIGUSR1 opens Node's
 * debugger port, through which each local process could take the supervisor over.
 */
import { close as closeInspector, url as inspectorUrl } from 'node:inspector';

export type EarlySignal = 'SIGHUP' | 'SIGUSR1';
const SIGNALS: readonly EarlySignal[] = ['SIGHUP', 'SIGUSR1'];

export interface HeldSignals {
  /** Ends the hold. Returns the signals that came, each once. */
  release(): readonly EarlySignal[];
}

export function holdSignals(): HeldSignals {
  const came = new Set<EarlySignal>();
  const hold = (signal: NodeJS.Signals) => void came.add(signal as EarlySignal);
  for (const signal of SIGNALS) process.on(signal, hold);
  if (wasDebuggerOpened()) came.add('SIGUSR1');
  return {
    release: () => {
      // Race: Node opens the port on a thread of its own, so it may open only now.
      if (wasDebuggerOpened()) came.add('SIGUSR1');
      for (const signal of SIGNALS) process.off(signal, hold);
      return [...came];
    },
  };
}

/** True: a SIGUSR1 before the first handler had opened the port, which is closed now. A person's --inspect stays. */
function wasDebuggerOpened(): boolean {
  if (inspectorUrl() === undefined || process.execArgv.some((one) => one.startsWith('--inspect')))
    return false;
  if (process.env.NODE_OPTIONS?.includes('--inspect') === true) return false;
  closeInspector();
  return true;
}
