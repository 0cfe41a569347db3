/** The cgroups of this process in both versions, each with all cgroups above it. Source: cgroups(7). */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folders of the hierarchy with this controller, the innermost first. */
export function ownCgroups(controller: string): string[] {
  const mounts = lines('/proc/self/mountinfo').map((line) => line.split(' '));
  return lines('/proc/self/cgroup').flatMap((line) => {
    const [id = '', controllers = '', path = '/'] = line.split(':');
    const isV2 = id === '0';
    if (!isV2 && !controllers.split(',').includes(controller)) return [];
    const mount = mounts.find((fields) => {
      const [type, , options = ''] = fields.slice(fields.indexOf('-') + 1);
      return isV2 ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes(controller);
    });
    const point = mount?.[4];
    return point === undefined ? [] : upwards(join(point, path), point);
  });
}

function upwards(from: string, top: string): string[] {
  const found: string[] = [];
  for (let at = from; at.length >= top.length && at.startsWith(top); at = dirname(at)) found.push(at);
  return found;
}

/** Empty: the file cannot be read. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function lines(path: string): string[] {
  return textOf(path)
    .split('\n')
    .filter((line) => line !== '');
}
