/** config/curfew.example.yaml is the reference. It holds the defaults and names every key. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { DEFAULT_CONFIG } from '../../../src/adapters/config/config.ts';
import { parseConfig } from '../../../src/adapters/config/config-file.ts';
import { defaultProfile, fileSchema } from '../../../src/adapters/config/config-schema.ts';
import { DEV } from '../../../src/lib/limits/service-limits.ts';

const TEXT = readFileSync(join(import.meta.dirname, '../../../config/curfew.example.yaml'), 'utf8');

/** The example with the keys that have no default freed from their comment signs. */
function uncommented(): unknown {
  return parse(TEXT.replaceAll(/^( *)#(?=[a-z_]+:|- | {2})/gm, '$1').replace('tokens: []', 'tokens:'));
}

function keysOf(schema: unknown, path: string): string[] {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable
  )
    return keysOf(schema.unwrap(), path);
  if (schema instanceof z.ZodObject)
    return Object.entries(schema.shape).flatMap(([key, one]) => [
      `${path}.${key}`,
      ...keysOf(one, `${path}.${key}`),
    ]);
  if (schema instanceof z.ZodArray) return keysOf(schema.element, `${path}[]`);
  return schema instanceof z.ZodRecord && path === '.agents' ? keysOf(schema.valueType, `${path}.*`) : [];
}

function keysIn(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => keysIn(one, `${path}[]`));
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, one]) => {
    const at = path === '.agents' ? `${path}.*` : `${path}.${key}`;
    return [at, ...keysIn(one, at)];
  });
}

describe('the example config', () => {
  it('holds the defaults', () => {
    const config = parseConfig(TEXT, { path: 'curfew.example.yaml', env: {} });
    expect(config).toEqual({
      ...DEFAULT_CONFIG,
      agents: { default: defaultProfile('default', ['python3', 'agent.py']) },
    });
  });

  it('uses another port than `npm start`, so that both can run side by side', () => {
    expect(DEFAULT_CONFIG.listen.http?.port).not.toBe(DEV.httpPort);
  });

  it('names every key', () => {
    const named = new Set(keysIn(uncommented(), ''));
    const known = keysOf(fileSchema, '');
    expect(known.length).toBeGreaterThan(60);
    expect(known.filter((key) => !named.has(key))).toEqual([]);
  });

  it('has no key that the schema does not know, also among the commented keys', () => {
    expect(() => fileSchema.parse(uncommented())).not.toThrow();
  });
});
