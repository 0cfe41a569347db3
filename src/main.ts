#!/usr/bin/env node
/** The entry. The handlers of signals come first, because a signal may come while the program is loaded. */
import { holdSignals } from './app/early-signals.ts';

const held = holdSignals();
const { runProgram } = await import('./app/command-line.ts');
process.exitCode = await runProgram(import.meta.url, held);
