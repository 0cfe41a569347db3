/** A zod schema as rows of a table: each field with its type, its bounds, its default and its meaning. */
import { z } from 'zod';
import { FAILED_REASONS, RELEASED_REASONS } from '../src/core/model/reasons.ts';
import { code } from './markdown.ts';

/** Schemas that have a section of their own, with its name. */
export type Named = ReadonlyMap<unknown, string>;

interface Unwrapped {
  readonly schema: unknown;
  readonly optional: boolean;
  readonly nullable: boolean;
  /** undefined: none. */
  readonly initial: unknown;
  readonly meaning: string;
}

/** Throws for a field without a description. */
export function rowsOf(
  schema: unknown,
  options: { named: Named; prefix?: string; isAnswer?: boolean },
): string[][] {
  const { named, prefix = '', isAnswer = false } = options;
  const found = unwrap(schema).schema;
  if (!(found instanceof z.ZodObject)) return [];
  return Object.entries(found.shape as Record<string, unknown>).flatMap(([key, field]) => {
    const path = `${prefix}${key}`;
    const one = unwrap(field);
    const inner = elementOf(one.schema);
    const isNested = inner.schema instanceof z.ZodObject && !named.has(inner.schema);
    const nested = isNested
      ? rowsOf(inner.schema, { ...options, prefix: `${path}${inner.isList ? '[]' : ''}.` })
      : [];
    return [
      [code(path), typeText(one, named), ...(isAnswer ? [] : [needed(one)]), meaningOf(path, one)],
      ...nested,
    ];
  });
}

function meaningOf(path: string, { meaning }: Unwrapped): string {
  if (meaning === '') throw new Error(`the field ${path} has no description in src/api/`);
  return meaning;
}

function needed({ optional, initial }: Unwrapped): string {
  if (initial !== undefined) return code(typeof initial === 'string' ? initial : JSON.stringify(initial));
  return optional ? 'optional' : 'required';
}

/** The outermost description counts. */
function unwrap(schema: unknown): Unwrapped {
  const meaning = (schema as z.ZodType).description ?? '';
  if (schema instanceof z.ZodDefault) {
    const inner = unwrap(schema.unwrap());
    return { ...inner, initial: schema.def.defaultValue, meaning: meaning || inner.meaning };
  }
  if (schema instanceof z.ZodOptional) {
    const inner = unwrap(schema.unwrap());
    return { ...inner, optional: true, meaning: meaning || inner.meaning };
  }
  if (schema instanceof z.ZodNullable) {
    const inner = unwrap(schema.unwrap());
    return { ...inner, nullable: true, meaning: meaning || inner.meaning };
  }
  return { schema, optional: false, nullable: false, initial: undefined, meaning };
}

function elementOf(schema: unknown): { schema: unknown; isList: boolean } {
  return schema instanceof z.ZodArray
    ? { schema: unwrap(schema.element).schema, isList: true }
    : { schema, isList: false };
}

function typeText({ schema, nullable }: Unwrapped, named: Named): string {
  return `${plainType(schema, named)}${nullable ? ' or `null`' : ''}`;
}

function plainType(schema: unknown, named: Named): string {
  const name = named.get(schema);
  if (name !== undefined) return `[${name}](#${name.toLowerCase()})`;
  if (schema instanceof z.ZodArray) return `list of ${typeText(unwrap(schema.element), named)}`;
  if (schema instanceof z.ZodISODateTime) return 'time';
  if (schema instanceof z.ZodString) return bounded('text', [null, schema.maxLength], 'characters');
  if (schema instanceof z.ZodNumber)
    return bounded('number', [finite(schema.minValue), finite(schema.maxValue)], '');
  if (schema instanceof z.ZodBoolean) return 'boolean';
  if (schema instanceof z.ZodLiteral) return [...schema.values].map((one) => code(String(one))).join(', ');
  if (schema instanceof z.ZodEnum) return choices(schema.options.map(String));
  if (schema instanceof z.ZodRecord) return 'map';
  if (schema instanceof z.ZodObject) return 'object';
  throw new Error(`schema-rows.ts does not know ${(schema as z.ZodType).def.type}`);
}

function choices(options: readonly string[]): string {
  if (options.length === RELEASED_REASONS.length + FAILED_REASONS.length) return '[reason](reasons.md)';
  return options.map(code).join(', ');
}

/** Without a bound that zod itself sets, such as the largest safe integer. */
function finite(value: number | null): number | null {
  return value === null || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? null : value;
}

function bounded(kind: string, [least, most]: readonly [number | null, number | null], unit: string): string {
  const end = unit === '' ? '' : ` ${unit}`;
  if (most === null) return least === null || least === 0 ? kind : `${kind} from ${least}${end}`;
  return least === null ? `${kind} up to ${most}${end}` : `${kind} from ${least} to ${most}${end}`;
}
