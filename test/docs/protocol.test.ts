import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { protocolSchema } from '../../scripts/protocol-schema.ts';

it('kits/protocol.schema.json is the schema of the code; npm run docs writes it', () => {
  expect(readFileSync(new URL('../../kits/protocol.schema.json', import.meta.url), 'utf8')).toBe(
    protocolSchema(),
  );
});
