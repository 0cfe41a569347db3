// Writes one message to a socket when it runs, and waits.
import { createConnection } from 'node:net';

const path = process.env.BENCH_SOCKET ?? JSON.parse(process.env.CURFEW_METADATA).socket;
createConnection(path)
  .on('error', () => process.exit(1))
  .write('up\n');
setInterval(() => {}, 1000);
