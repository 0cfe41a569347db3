/** Prints kits/protocol.schema.json, the messages of the control socket, from the schemas in the source. */
import { z } from 'zod';
import {
  helloSchema,
  supervisorMessageSchema,
  workerMessageSchema,
} from '../src/core/model/control-protocol.ts';

export function protocolSchema(): string {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'curfew control socket, version 1: one JSON object a line',
    $defs: {
      hello: z.toJSONSchema(helloSchema),
      worker: z.toJSONSchema(workerMessageSchema),
      supervisor: z.toJSONSchema(supervisorMessageSchema),
    },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
