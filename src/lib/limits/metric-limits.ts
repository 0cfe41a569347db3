/** Bounds of the metrics that agents write. A worker may write anything into these files. */

export const METRICS = {
  /** The folder in a worker's temporary folder. */
  folder: 'prometheus',
  /** Files of one worker, and bytes of one file. */
  files: 256,
  fileBytes: 1024 * 1024,
  /** Series of one worker, and of an agent's ended workers. Further ones are left out. */
  workerSeries: 5000,
  agentSeries: 20_000,
  /** Bytes of one key: names, labels and help. */
  keyBytes: 8 * 1024,
} as const;
