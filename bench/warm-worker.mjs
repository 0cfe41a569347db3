// A warm worker that tells the bench when it has its job, and when it is in its room if it was asked to join.
import { createConnection } from 'node:net';
import { serve } from '../kits/node/curfew.mjs';

const rtc = process.env.BENCH_JOIN === undefined ? null : await import('@livekit/rtc-node');
const line = createConnection(process.env.BENCH_SOCKET ?? '');
serve(async (job, curfew) => {
  line.write(`job ${job.room}\n`);
  if (rtc !== null) {
    const room = new rtc.Room();
    await room.connect(job.livekitUrl, job.livekitToken, { autoSubscribe: false, dynacast: false });
    line.write(`joined ${job.room}\n`);
    curfew.onDisconnect(() => room.disconnect());
  }
  await new Promise((resolve) => curfew.onAclose(resolve));
});
