/** `npm run docs`: writes what is generated from the code. Tests compare it, so that it is never old. */
import { writeFileSync } from 'node:fs';
import { protocolSchema } from './protocol-schema.ts';
import { statesTable } from './states-table.ts';

writeFileSync(new URL('../kits/protocol.schema.json', import.meta.url), protocolSchema());
writeFileSync(new URL('../docs/reference/states.md', import.meta.url), statesTable());
