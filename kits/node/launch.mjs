/**
 * Adapts a LiveKit agent to curfew. curfew sets NODE_OPTIONS=--import with this file for workers with
 * `protocol: livekit`. Tested with @livekit/agents 1.9.0.
 * Each Node process below the worker loads this file. The parts are in launch/, and each says what it changes.
 */
import { syncBuiltinESMExports } from 'node:module';
import { giveRealAccess } from './launch/access.mjs';
import { attachToSessions } from './launch/auto-attach.mjs';
import { watchStarts } from './launch/child-env.mjs';
import { noteDials } from './launch/dialled.mjs';
import { reportEntryErrors } from './launch/entry-errors.mjs';
import { shareInference } from './launch/inference-zygote.mjs';
import { runJobInMain } from './launch/one-process.mjs';
import { redirectOwnCalls } from './launch/own-calls.mjs';
import { isOfCurfew } from './launch/own-keys.mjs';
import { shareOwnPorts } from './launch/own-port.mjs';
import { registerAtCurfew } from './launch/registration.mjs';
import { reportJobEnds } from './launch/report-end.mjs';
import { changeServerSettings } from './launch/server-settings.mjs';

if (isOfCurfew) {
  registerAtCurfew();
  giveRealAccess();
  watchStarts();
  shareOwnPorts();
  changeServerSettings();
  shareInference();
  runJobInMain();
  reportJobEnds();
  reportEntryErrors();
  redirectOwnCalls();
  noteDials();
  attachToSessions();
  syncBuiltinESMExports();
}
