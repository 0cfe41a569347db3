import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cgroupBytes, PssReader } from '../../src/process/memory-cost.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'curfew-memory-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a cgroup's memory", () => {
  const write = (current: string, stat: string) => {
    writeFileSync(join(folder, 'memory.current'), current);
    writeFileSync(join(folder, 'memory.stat'), stat);
  };

  it('counts no file pages that the kernel can drop', () => {
    write('1000000\n', 'anon 500000\nfile 500000\ninactive_file 300000\nactive_file 200000\n');
    expect(cgroupBytes(folder)).toBe(700_000);
  });

  it('is unknown without the controller, and where no process entered the cgroup', () => {
    expect(cgroupBytes(folder)).toBeNull();
    write('0\n', 'inactive_file 0\n');
    expect(cgroupBytes(folder)).toBeNull();
  });
});

describe('a proportional set size', () => {
  it('is a number for a living process, and unreadable for a process that does not exist', async () => {
    const reader = new PssReader();
    expect(await reader.read(process.pid)).toBeGreaterThan(1024 ** 2);
    expect(await reader.read(2 ** 30)).toBe('unreadable');
    expect(await reader.read(process.pid)).toBeGreaterThan(1024 ** 2);
  });
});
