/**
 * The process between the supervisor and a worker's command, so that a worker outlives its supervisor with its exit
 * status known. Arguments: folder, umask, bound of the log in blocks of 512 bytes, the worker's cgroup or nothing, the boot's id,
 * command and its arguments.
 *
 * - The claim is created exclusively (`set -C`): whoever is first, a shim or a recovery that voids the start, wins.
 * - claim and pid hold a line of /proc/PID/stat: `read` is built in, so /proc/self is this very shell, or its child. Behind it is the
 *   boot's id: after a reboot both numbers may be another process's.
 * - A trap is a handler: TERM to the group does not end the shim, and the command does not inherit it.
 * - The shell's own remarks ("Killed") go nowhere: the log is the command's.
 * - The command runs in the foreground. In the background it would have no stdin and ignore SIGINT.
 * - The status is one write ended by a newline; a reader takes nothing without it. No program but sh is needed.
 * - RLIMIT_FSIZE bounds the log while no supervisor trims it, and with it each file that the worker writes. It is soft:
 *   a worker that needs larger files may raise it. Past it a write fails with EFBIG; SIGXFSZ, which would kill, is
 *   ignored, and that is inherited (Python and Node ignore it anyway). In Node console.log goes on without a word,
 *   process.stdout.write wants an 'error' listener; in Python print raises OSError, logging goes on.
 * - The cgroup is entered in the parentheses, before the exec: all that descends from the command is inside, the shim stays outside.
 *   `>|` because of the noclobber above. One that cannot be entered is gone on without; the supervisor looks.
 * - `unstarted` tells a failed exec from a command that itself exits with 126 or 127: its EXIT trap runs only then.
 *   Where sh is bash, which drops the trap first, such a start is an exit with 126 or 127, and the log says why.
 */
import { SHIM_NAME } from '../../../lib/limits/worker-limits.ts';

const SCRIPT = `trap : TERM INT HUP
curfew_dir=$1 curfew_umask=$2 curfew_blocks=$3 curfew_cgroup=$4 curfew_boot=$5
shift 5
umask 077
exec 3>&2 2>/dev/null
set -C
read -r curfew_self </proc/self/stat && printf '%s boot=%s\\n' "$curfew_self" "$curfew_boot" >"$curfew_dir/claim" || exit 125
(
  read -r curfew_self </proc/self/stat && printf '%s boot=%s\\n' "$curfew_self" "$curfew_boot" >"$curfew_dir/pid" || exit 125
  trap '' XFSZ
  ulimit -S -f "$curfew_blocks" 2>/dev/null
  [ -z "$curfew_cgroup" ] || { echo 0 >|"$curfew_cgroup/cgroup.procs"; } 2>/dev/null
  trap ': >"$curfew_dir/unstarted"' EXIT
  umask "$curfew_umask"
  exec "$@"
) 2>&3 3>&-
curfew_status=$?
printf '%s\\n' "$curfew_status" >"$curfew_dir/status"
exit "$curfew_status"
`;

/** Exit status of a shim that found its claim taken, or could not write to its folder. */
export const SHIM_REFUSED = 125;
const SHELL = '/bin/sh';
const BLOCK_BYTES = 512;

/** How the arguments of every shim begin; after its exec the command's are its own. */
export const SHIM_CMDLINE = [SHELL, '-c', SCRIPT, ''].join('\0');

/** Nothing of the folder or the command is ever read as shell text: it is all in "$@". */
export function shimCommand(options: {
  readonly folder: string;
  readonly umask: string;
  readonly maxFileBytes: number;
  readonly cgroup: string | null;
  readonly bootId: string;
  readonly command: readonly string[];
}): { readonly file: string; readonly args: readonly string[] } {
  const blocks = String(Math.floor(options.maxFileBytes / BLOCK_BYTES));
  const { folder, umask, cgroup, bootId, command } = options;
  const args = ['-c', SCRIPT, SHIM_NAME, folder, umask, blocks, cgroup ?? '', bootId, ...command];
  return { file: SHELL, args };
}
