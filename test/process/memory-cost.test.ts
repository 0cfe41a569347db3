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
  const failing = (code: string) =>
    new PssReader(() => Promise.reject(Object.assign(new Error(code), { code })));

  it('is a number for a living process, and gone for a process that does not exist', async () => {
    const reader = new PssReader();
    expect(await reader.read(process.pid)).toBeGreaterThan(1024 ** 2);
    expect(await reader.read(2 ** 30)).toBe('gone');
    expect(await reader.read(process.pid)).toBeGreaterThan(1024 ** 2);
  });

  it('is unreadable where curfew can never read it', async () => {
    expect(await failing('EACCES').read(process.pid)).toBe('unreadable');
    // A kernel without the file.
    expect(await failing('ENOENT').read(process.pid)).toBe('unreadable');
  });

  it('is unknown where curfew has no file descriptor left', async () => {
    expect(await failing('EMFILE').read(process.pid)).toBe('unknown');
  });

  it('is unknown for every process while one read is blocked, and a number again afterwards', async () => {
    const blocked = Promise.withResolvers<string>();
    const reader = new PssReader(() => blocked.promise, 1);
    expect(await reader.read(1)).toBe('unknown');
    expect(await reader.read(2)).toBe('unknown');
    blocked.resolve('Pss:  1 kB\n');
    await blocked.promise;
    await Promise.resolve();
    expect(await reader.read(2)).toBe(1024);
  });
});
