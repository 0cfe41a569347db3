/** Frames of LiveKit's agent protocol: protobuf in binary, protojson in text. Source: livekit_agent.proto. */
import { ServerMessage, UpdateJobStatus, WorkerMessage } from '@livekit/protocol';

export type FromWorker = WorkerMessage['message'];
export type ToWorker = NonNullable<ConstructorParameters<typeof ServerMessage>[0]>['message'];

/** `null`: the data is not a message. A message that only newer frameworks have gets the case `undefined`. */
export function readFrame(data: Buffer, isBinary: boolean): FromWorker | null {
  try {
    if (isBinary) return WorkerMessage.fromBinary(data).message;
    return WorkerMessage.fromJsonString(data.toString(), { ignoreUnknownFields: true }).message;
  } catch {
    return null;
  }
}

export function writeFrame(message: ToWorker, isBinary: boolean): Uint8Array | string {
  const frame = new ServerMessage(message === undefined ? {} : { message });
  return isBinary ? frame.toBinary() : frame.toJsonString();
}

/** `null`: the JSON is not a job status. */
export function readStatus(json: Buffer): UpdateJobStatus | null {
  try {
    return UpdateJobStatus.fromJsonString(json.toString(), { ignoreUnknownFields: true });
  } catch {
    return null;
  }
}
