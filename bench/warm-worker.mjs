// A warm worker that reports when it has its job. With BENCH_JOIN it joins the room and reports that too.
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
