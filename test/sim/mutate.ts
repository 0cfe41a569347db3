/** Runs before the simulation (`node --import`) and breaks one rule in the source text while Node reads it. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Mutation } from './mutations.ts';

const { file, from, to } = JSON.parse(process.env.CURFEW_SIM_MUTATION ?? 'null') as Mutation;

registerHooks({
  load(url, context, nextLoad) {
    if (!url.endsWith(`/${file}`)) return nextLoad(url, context);
    const text = readFileSync(fileURLToPath(url), 'utf8');
    if (text.split(from).length !== 2) throw new Error(`${file} does not contain exactly once: ${from}`);
    return { format: 'module-typescript', source: text.replace(from, () => to), shortCircuit: true };
  },
});
