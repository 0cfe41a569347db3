/**
 * The shim is the process between the supervisor and a worker's command.
 * With it a worker outlives its supervisor, and its exit status is still recorded.
 * Arguments: folder, umask, bound of the log in blocks of 512 bytes, cgroup, boot id, command and its arguments.
 * The cgroup is an empty text for a worker without one.
 *
 * - The shim creates the claim file exclusively (`set -C`). A recovery that voids the start creates the same file.
 *   The first of them wins.
 * - claim and pid contain a line of /proc/PID/stat, then the boot id.
 *   `read` is a builtin, so /proc/self is the shell itself, or its child.
 *   The boot id is there because after a reboot another process can have both numbers.
 * - The traps are handlers, so TERM to the group does not end the shim. The command does not inherit handlers.
 * - The shell's own messages ("Killed") are dropped, because the log belongs to the command.
 * - The command runs in the foreground. In the background it would have no stdin and ignore SIGINT.
 * - The status is one write that ends with a newline. Readers ignore a status without it.
 * - The script needs no program except sh.
 * - RLIMIT_FSIZE bounds the log while no supervisor trims it. It also bounds each file that the worker writes.
 *   The limit is soft: a worker that needs larger files may raise it.
 *   Beyond the limit a write fails with EFBIG. SIGXFSZ would kill, so the shim ignores it, and the worker inherits that.
 *   Python and Node ignore SIGXFSZ anyway.
 *   In Node console.log loses the output silently, and process.stdout.write needs an 'error' listener.
 *   In Python print raises OSError, and logging continues.
 * - The subshell enters the cgroup before the exec. So all descendants of the command are inside, and the shim is outside.
 *   The redirection is `>|`, because `set -C` forbids `>`.
 *   If the subshell cannot enter the cgroup, it continues without, and the supervisor checks.
 * - `unstarted` marks a failed exec. A command that itself exits with 126 or 127 runs no EXIT trap of the shim.
 *   bash drops the trap before the exec. Where sh is bash, a failed exec is an exit with 126 or 127.
 *   The log then says why.
 */
import { SHIM_NAME } from '../../../lib/limits/worker-limits.ts';

const SCRIPT = /* sh */ `trap : TERM INT HUP
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

/** Exit status of a shim that did not get its claim, or could not write to its folder. */
export const SHIM_REFUSED = 125;
const SHELL = '/bin/sh';
const BLOCK_BYTES = 512;

/** The first arguments of every shim. After the exec the command shows its own arguments. */
export const SHIM_CMDLINE = [SHELL, '-c', SCRIPT, ''].join('\0');

/** The shell never parses the folder or the command: all of it is in "$@". */
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
