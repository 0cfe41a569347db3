/** Messages from the job to the launcher's part in the main process. */

/** The channel of this process to its parent, unless the job runs in the main process. */
let send = (message) => {
  if (process.connected) process.send?.(message);
  return process.connected === true;
};

export function useChannel(to) {
  send = to;
}

/** False: this process has no job, and the message is lost. */
export function tellMainProcess(message) {
  return send(message);
}
