import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { protocolSchema } from '../../scripts/protocol-schema.ts';

it('kits/protocol.schema.json is what the code says (npm run docs)', () => {
  expect(readFileSync(new URL('../../kits/protocol.schema.json', import.meta.url), 'utf8')).toBe(
    protocolSchema(),
  );
});
