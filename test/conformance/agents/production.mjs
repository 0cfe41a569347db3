/**
 * An agent of the usual shape. The room's metadata is its prompt, and the entrypoint starts a recording.
 * An avatar joins with a token of its own, and a tool takes long. A shutdown callback writes a summary.
 * The request function knows the opening hours.
 * The file has no code for curfew. Only the notes and the shorter times are for the suite.
 */
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cli, defineAgent, ServerOptions, voice } from '@livekit/agents';
import { Room } from '@livekit/rtc-node';
import { AccessToken, EgressClient, EncodedFileOutput, RoomServiceClient } from 'livekit-server-sdk';

const TOOL_MS = 1000 * Number(process.env.PRODUCTION_TOOL_SECONDS ?? 30);
const SUMMARY_MS = 1000 * Number(process.env.PRODUCTION_SUMMARY_SECONDS ?? 20);

const orderOf = (job) => JSON.parse(job.metadata);
const clientOf = (Kind) =>
  new Kind(process.env.LIVEKIT_URL, process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);

function note(order, what, data = {}) {
  appendFileSync(order.out, `${JSON.stringify({ at: Date.now(), what, pid: process.pid, ...data })}\n`);
}

/** The fault that ends the process comes once, so an agent that takes the call over goes on. */
function isFirst(order) {
  const mark = `${order.out}.crashed`;
  if (existsSync(mark)) return false;
  writeFileSync(mark, '');
  return true;
}

async function onRequest(request) {
  const order = orderOf(request.job);
  note(order, 'request', { room: request.room.metadata });
  if (order.closed) await request.reject();
  else await request.accept('Ada', `ada-${request.room.name}`, '', { desk: 'front' });
}

class FrontDesk extends voice.Agent {
  constructor(order, prompt) {
    super({ instructions: prompt });
    this.order = order;
  }

  async onEnter() {
    note(this.order, 'on_enter', { prompt: this.instructions });
  }

  async onExit() {
    note(this.order, 'on_exit');
  }
}

async function record(ctx, order) {
  const output = { file: new EncodedFileOutput({ filepath: `${ctx.room.name}.ogg` }) };
  await clientOf(EgressClient)
    .startRoomCompositeEgress(ctx.room.name, output, { audioOnly: true })
    .then(
      () => note(order, 'recording'),
      (error) => note(order, 'no_recording', { code: `${error.code}` }),
    );
}

async function bringAvatar(ctx) {
  const token = new AccessToken(undefined, undefined, {
    identity: 'avatar',
    attributes: { 'lk.publish_on_behalf': ctx.room.localParticipant.identity },
  });
  Object.assign(token, { kind: 'agent' });
  token.addGrant({ roomJoin: true, room: ctx.room.name });
  const room = new Room();
  await room.connect(process.env.LIVEKIT_URL, await token.toJwt(), { autoSubscribe: false, dynacast: false });
  return room;
}

export default defineAgent({
  entry: async (ctx) => {
    const order = orderOf(ctx.job);
    const prompt = JSON.parse(ctx.job.room?.metadata || '{}').prompt ?? '';
    note(order, 'entry', { prompt, job: { id: ctx.job.id } });
    ctx.addShutdownCallback(async () => {
      note(order, 'summary_begins');
      await pause(SUMMARY_MS);
      note(order, 'summary_ends');
    });
    const session = new voice.AgentSession({});
    await session.start({ agent: new FrontDesk(order, prompt), room: ctx.room });
    await ctx.connect();
    ctx.avatar = await bringAvatar(ctx);
    note(order, 'avatar');
    if (order.record) await record(ctx, order);
    note(order, 'tool_begins');
    await pause(TOOL_MS);
    note(order, 'tool_ends');
    if (order.last === 'raise') throw new Error('the entrypoint raises');
    if (order.last === 'crash' && isFirst(order)) process.exit(3);
    if (order.last === 'delete_room') await clientOf(RoomServiceClient).deleteRoom(ctx.room.name);
    note(order, 'returned');
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url))
  cli.runApp(
    new ServerOptions({
      agent: fileURLToPath(import.meta.url),
      agentName: process.env.OBSERVER_NAME,
      requestFunc: onRequest,
      // Under LiveKit's own runner each process needs a port of its own.
      port: Number(process.env.OBSERVER_PORT ?? 8081),
      initializeProcessTimeout: 60_000,
      numIdleProcesses: 1,
      loadFunc: async () => 0,
    }),
  );
