/** `npm run docs`: writes what is generated from the code. Tests compare it, so that it is never old. */
import { writeFileSync } from 'node:fs';
import { PRINTED_PAGES } from './printed-pages.ts';
import { protocolSchema } from './protocol-schema.ts';
import { statesTable } from './states-table.ts';

writeFileSync(new URL('../kits/protocol.schema.json', import.meta.url), protocolSchema());
writeFileSync(new URL('../docs/reference/states.md', import.meta.url), statesTable());
for (const [path, print] of Object.entries(PRINTED_PAGES))
  writeFileSync(new URL(`../${path}`, import.meta.url), print());
