/**
 * Writes down everything that an agent can see, one JSON line for each observation, and ends in the way that its job asks.
 * The metadata of the job is the script. The file has no code for curfew.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as agents from '@livekit/agents';
import { Room } from '@livekit/rtc-node';
import {
  AccessToken,
  AgentDispatchClient,
  EgressClient,
  EncodedFileOutput,
  RoomServiceClient,
  SipClient,
} from 'livekit-server-sdk';

const { cli, defineAgent, voice } = agents;
const AGENT_NAME = process.env.OBSERVER_NAME ?? 'observer';
const PREWARMED = 'prewarmed';
/** A busy machine needs long for the first media connection. */
const HEARD_MS = 20_000;

function scriptOf(job) {
  try {
    const script = JSON.parse(job.metadata);
    return typeof script === 'object' && script !== null ? script : {};
  } catch {
    return {};
  }
}

/** One write of one line: several processes write into the file. */
function note(script, what, data = {}) {
  if (script.out === undefined) return;
  const line = { at: Date.now(), what, pid: process.pid, ...data };
  appendFileSync(
    script.out,
    `${JSON.stringify(line, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}\n`,
  );
}

const livekitEnv = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('LIVEKIT_')));

/** Every field, those with the default value too. In a job's process the job is a plain object. */
function fields(job) {
  return job.toJson?.({ emitDefaultValues: true, useProtoFieldName: true }) ?? job;
}

async function onRequest(request) {
  const script = scriptOf(request.job);
  const ask = script.request ?? {};
  note(script, 'request', { job: fields(request.job), env: livekitEnv(), agent_name: request.agentName });
  if (ask.sleepMs !== undefined) await pause(ask.sleepMs);
  if (ask.do === 'raise') throw new Error('the request function raises');
  if (ask.do === 'reject') await request.reject();
  else if (ask.do === 'accept') await request.accept(ask.name, ask.identity, ask.metadata, ask.attributes);
  else await request.accept();
}

class Observer extends voice.Agent {
  constructor(script) {
    super({ instructions: 'Observe.' });
    this.script = script;
  }

  async onEnter() {
    note(this.script, 'on_enter');
    if (this.script.raises === 'on_enter') throw new Error('on_enter raises');
  }

  async onExit() {
    note(this.script, 'on_exit');
    if (this.script.raises === 'on_exit') throw new Error('on_exit raises');
  }
}

function seeJob(ctx, script) {
  // Version 1.1.0 does not show it.
  const { info } = ctx;
  note(script, 'entry', {
    prewarmed: ctx.proc.userData[PREWARMED] === true,
    job: fields(ctx.job),
    info: info && { url: info.url, worker_id: info.workerId, accept: info.acceptArguments },
    env: { ...process.env },
    cwd: process.cwd(),
    claims: info && claimsOf(info.token),
  });
}

function claimsOf(token) {
  const {
    exp = 0,
    nbf = 0,
    ...claims
  } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
  return { ...claims, ttl: exp - nbf };
}

function addCallbacks(ctx, script) {
  ctx.addShutdownCallback(async () => {
    note(script, 'shutdown_begins');
    if (script.raises === 'shutdown_callback') throw new Error('the shutdown callback raises');
    await pause(script.callbackMs ?? 0);
    note(script, 'shutdown_ends', { room: `${ctx.room.isConnected}` });
  });
  ctx.addShutdownCallback(async () => note(script, 'shutdown_without_reason'));
}

function onLeft(script, who) {
  note(script, 'left', { identity: who.identity });
  if (script.raises === 'event_handler') throw new Error('the event handler raises');
}

async function enter(ctx, script) {
  if (script.enter === 'nothing') return null;
  if (script.enter !== 'session') {
    await ctx.connect();
    ctx.room.on('disconnected', (reason) => note(script, 'disconnected', { reason: `${reason}` }));
    ctx.room.on('participantDisconnected', (who) => onLeft(script, who));
    return null;
  }
  const session = new voice.AgentSession({});
  session.on('close', (event) => note(script, 'session_close', { reason: `${event.reason}` }));
  // Because: an AgentSession whose track nobody has subscribed to does not close, under LiveKit's own runner, too.
  const heard = new Promise((resolve) => ctx.room.once('localTrackSubscribed', resolve));
  await session.start({ agent: new Observer(script), room: ctx.room });
  await ctx.connect();
  await Promise.race([heard, pause(HEARD_MS)]);
  return session;
}

function seeRoom(ctx, script) {
  if (!ctx.room.isConnected) return;
  const me = ctx.room.localParticipant;
  note(script, 'room', {
    name: ctx.room.name,
    metadata: ctx.room.metadata,
    me: { identity: me.identity, name: me.name, metadata: me.metadata, attributes: me.attributes },
    others: [...ctx.room.remoteParticipants.keys()].sort(),
  });
}

async function probe(ctx, script) {
  for (const name of script.probes ?? []) {
    const result = await PROBES[name](ctx, script).catch((error) => ({
      error: error.name,
      code: `${error.code ?? ''}`,
      text: `${error.message}`.slice(0, 200),
    }));
    note(script, 'probe', { probe: name, result });
  }
}

/** The client with the keys of the environment, as an agent's own code makes it. */
function client(Kind) {
  return new Kind(process.env.LIVEKIT_URL, process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);
}

const PROBES = {
  list_participants: async (ctx) =>
    (await client(RoomServiceClient).listParticipants(ctx.room.name)).map(({ identity }) => identity).sort(),
  list_rooms: async (ctx) => {
    const rooms = await client(RoomServiceClient).listRooms();
    const has = (wanted) => rooms.some(({ name }) => name === wanted);
    return { own: has(ctx.room.name), other: has(`${ctx.room.name}-other`) };
  },
  update_metadata: async (ctx) =>
    (await client(RoomServiceClient).updateRoomMetadata(ctx.room.name, 'by the agent')).metadata,
  egress: async (ctx) =>
    (
      await client(EgressClient).startRoomCompositeEgress(
        ctx.room.name,
        { file: new EncodedFileOutput({ filepath: 'call.ogg' }) },
        { audioOnly: true },
      )
    ).status,
  sip: async (ctx) =>
    (
      await client(SipClient).createSipParticipant('ST_none', '+15550100', ctx.room.name, {
        participantIdentity: 'phone',
      })
    ).participantIdentity,
  list_dispatches: async (ctx) => (await client(AgentDispatchClient).listDispatch(ctx.room.name)).length,
  other_room: async (ctx) =>
    (await client(RoomServiceClient).createRoom({ name: `${ctx.room.name}-other` })).name !== '',
  /** A token for a second participant, signed with the keys of the environment, as avatars do. */
  avatar: async (ctx) => {
    const token = new AccessToken(undefined, undefined, {
      identity: 'avatar',
      name: 'Avatar',
      attributes: { 'lk.publish_on_behalf': ctx.room.localParticipant.identity },
    });
    Object.assign(token, { kind: 'agent' });
    token.addGrant({ roomJoin: true, room: ctx.room.name });
    const room = new Room();
    await room.connect(process.env.LIVEKIT_URL, await token.toJwt(), {
      autoSubscribe: false,
      dynacast: false,
    });
    return room.localParticipant.identity;
  },
};

async function end(ctx, script, session) {
  if (script.end === undefined) return;
  await pause(script.endAfterMs ?? 500);
  note(script, 'ends', { how: script.end });
  await ENDS[script.end]?.(ctx, session);
}

const ENDS = {
  shutdown: async (ctx) => ctx.shutdown('said by the agent'),
  delete_room: async (ctx) => ctx.deleteRoom(),
  api_delete_room: async (ctx) => client(RoomServiceClient).deleteRoom(ctx.room.name),
  disconnect: async (ctx) => ctx.room.disconnect(),
  close_session: async (_ctx, session) => session.close(),
  exit: async () => process.exit(3),
  kill: async () => process.kill(process.pid, 'SIGKILL'),
  kill_main: async () => process.kill(process.ppid, 'SIGKILL'),
};

export default defineAgent({
  prewarm: async (proc) => {
    if (process.env.OBSERVER_PREWARM === 'raises') throw new Error('the prewarm function raises');
    proc.userData[PREWARMED] = true;
  },
  entry: async (ctx) => {
    const script = scriptOf(ctx.job);
    seeJob(ctx, script);
    addCallbacks(ctx, script);
    if (script.raises === 'before_connect') throw new Error('the entrypoint raises before it connects');
    const session = await enter(ctx, script);
    seeRoom(ctx, script);
    await probe(ctx, script);
    if (script.raises === 'after_connect') throw new Error('the entrypoint raises after it connected');
    await end(ctx, script, session);
    note(script, 'returned');
  },
  onSessionEnd: async (ctx) => {
    const script = scriptOf(ctx.job);
    note(script, 'on_session_end');
    if (script.raises === 'on_session_end') throw new Error('on_session_end raises');
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const Options = agents.ServerOptions ?? agents.WorkerOptions;
  cli.runApp(
    new Options({
      agent: fileURLToPath(import.meta.url),
      agentName: AGENT_NAME,
      requestFunc: onRequest,
      // Under LiveKit's own runner each process needs a port of its own.
      port: Number(process.env.OBSERVER_PORT ?? 8081),
      initializeProcessTimeout: 60_000,
      numIdleProcesses: 1,
      // Because: LiveKit gives a worker on a busy host no call.
      loadFunc: async () => 0,
      ...JSON.parse(process.env.OBSERVER_SETTINGS ?? '{}'),
    }),
  );
}
