/** Frames of LiveKit's agent protocol: protobuf in binary, protojson in text. Source: livekit_agent.proto. */
import { ServerMessage, UpdateJobStatus, WorkerMessage } from '@livekit/protocol';

export type FromWorker = WorkerMessage['message'];
export type ToWorker = NonNullable<ConstructorParameters<typeof ServerMessage>[0]>['message'];

/** Null: it is no message. What a newer framework may say beyond ours has the case undefined. */
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

/** Null: it is none. */
export function readStatus(json: Buffer): UpdateJobStatus | null {
  try {
    return UpdateJobStatus.fromJsonString(json.toString(), { ignoreUnknownFields: true });
  } catch {
    return null;
  }
}
