/** Bounds of the metrics that agents write. A worker may write anything into these files. */

export const METRICS = {
  /** The folder in a worker's temporary folder. */
  folder: 'prometheus',
  /** Names in the folder that are looked at, files of one worker, and bytes of one file. */
  names: 4096,
  files: 256,
  fileBytes: 1024 * 1024,
  /** Bytes and series that are read of one worker. Further ones are left out. */
  workerBytes: 8 * 1024 * 1024,
  workerSeries: 5000,
  /** Entries of one worker whose key is none of prometheus_client. The rest of its files is left out. */
  workerFaults: 100,
  /** Bytes and series that one answer reads of all live workers of an agent. */
  readBytes: 64 * 1024 * 1024,
  readSeries: 200_000,
  /** Sums of an agent, and the characters of their keys and help texts. Further ones are left out. */
  agentSeries: 20_000,
  agentChars: 8 * 1024 * 1024,
  /** Bytes of an answer. Further lines are left out. */
  answerBytes: 16 * 1024 * 1024,
  /** Bytes of one key: names, labels and help. */
  keyBytes: 8 * 1024,
  /** Work between two turns of the event loop: bytes of a file, series of a sum, lines of an answer. */
  turnBytes: 64 * 1024,
  turnSeries: 2000,
} as const;
