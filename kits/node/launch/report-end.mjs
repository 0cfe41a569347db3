/** Reports the end of each job to curfew, because the framework never does. */
import childProcess from 'node:child_process';
import { ownToken } from './own-keys.mjs';
import { fetchFromCurfew } from './own-requests.mjs';

const REPORT_AGAIN_MS = 2000;
/** The framework's reason after an error in the entry function. */
const CRASHED = 'job crashed';

/** The job of this worker. Only the main process starts it. Empty: none was started. */
export const running = { jobId: '' };

export function reportJobEnds() {
  const { fork } = childProcess;
  childProcess.fork = function forkAndWatch(...args) {
    const child = fork(...args);
    const { send } = child;
    child.send = function sendAndWatch(message, ...rest) {
      const jobId = message?.case === 'startJobRequest' ? message.value?.runningJob?.job?.id : undefined;
      if (typeof jobId === 'string') watch(child, jobId);
      return Reflect.apply(send, child, [message, ...rest]);
    };
    return child;
  };
}

function watch(child, jobId) {
  running.jobId = jobId;
  let isExiting = false;
  let isDone = false;
  let reason = '';
  let raised = '';
  let hasDialled = false;
  // Race: the reports of a job may wait for curfew and then arrive in any order. So each one has what was known before it.
  const tell = (status, error) => void report({ jobId, status, error }, hasDialled);
  child.on('message', (message) => {
    if (message?.case === 'exiting') {
      isExiting = true;
      reason = `${message.value?.reason ?? ''}`;
    }
    if (message?.case === 'done') isDone = true;
    if (message?.case === 'curfewDialled') {
      hasDialled = true;
      tell('JS_RUNNING', '');
    }
    // `ctx.shutdown()` or the end of the room came first, so an error of the entry function after that did not end the job.
    if (message?.case !== 'curfewEntryError' || isExiting) return;
    raised = `: ${message.value}`;
    tell('JS_RUNNING', `${message.value}`);
  });
  child.once('exit', (code, signal) => {
    const crashed = reason === CRASHED || raised !== '' ? `${CRASHED}${raised}` : '';
    // Without a signal of its own the framework may have sent one to a process that was already at its end.
    const sender = signal !== null && child.killed ? ' by the framework' : '';
    // The framework, too, ignores the end of a process whose job is done. Native code may abort while it is unloaded.
    const error =
      code === 0 || isDone || crashed !== '' ? crashed : `job process ended: ${signal ?? code}${sender}`;
    tell(error === '' ? 'JS_SUCCESS' : 'JS_FAILED', error);
  });
}

/** Repeats until curfew accepts the report. After a restart curfew answers 503 until the worker has reconnected. */
async function report(status, hasDialled = false) {
  const response = await fetchFromCurfew('/curfew/job', {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ownToken()}`,
      'content-type': 'application/json',
      ...(hasDialled && { 'x-curfew-dialled': '1' }),
    },
    body: JSON.stringify(status),
  }).catch(() => null);
  if (response === null || response.status === 503)
    setTimeout(() => void report(status, hasDialled), REPORT_AGAIN_MS).unref();
}
