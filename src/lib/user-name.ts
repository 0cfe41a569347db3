/** The name of the user that runs this command, for the audit file. */
import { userInfo } from 'node:os';

/** The number of the user where the system has no name for it, as in a container that runs with any number. */
export function userName(read = () => userInfo().username): string {
  try {
    return read();
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}

/** A header has ASCII alone. Without this a name with other letters would refuse each request. */
export function userNameForHeader(read?: () => string): string {
  return userName(read).replace(/[^\x20-\x7e]/g, '?');
}
