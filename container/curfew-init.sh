#!/bin/sh
# The first process of a container: sh curfew-init.sh [COMMAND...]. The default command is `curfew serve`.
#
# - It runs the supervisor as its child. A process whose parent ended becomes a child of the first process.
#   `wait` reaps every child, also one that this shell did not start, so no zombie stays.
# - It passes TERM, INT, HUP and USR1 on. HUP reloads the config, USR1 starts a drain.
# - It starts a supervisor that crashed again. The workers live on meanwhile, and the new supervisor adopts them.
# - It ends with the supervisor's status after an ordered stop or a drain (0, or 7 when a worker survived).
#   It also ends when the very first start fails, for example for an invalid config.
# - It needs no program except sh and sleep.

[ "$#" -gt 0 ] || set -- curfew serve
[ "$$" = 1 ] || echo "curfew-init: this is not PID 1, so orphans go to another process" >&2

supervisor='' ordered='' caught='' drain='' adopted_once='' pause=1
pass() {
  caught=1
  [ -z "$supervisor" ] || kill -s "$1" "$supervisor" 2>/dev/null
}
# A supervisor that has no handler for HUP yet would die of it. It has not read its config yet, so it needs no reload.
handles_hup() {
  while read -r name mask; do
    case $name$mask in SigCgt:*[13579bdf]) return 0 ;; esac
  done <"/proc/$supervisor/status"
  return 1
} 2>/dev/null
trap 'ordered=TERM; pass TERM' TERM
trap 'ordered=INT; pass INT' INT
trap 'caught=1; handles_hup && pass HUP' HUP
# Without its own handler for USR1, Node opens its debugger port.
trap 'caught=1; drain=1; ! handles_hup || { drain=; pass USR1; }' USR1

uptime_seconds() {
  read -r seconds rest </proc/uptime
  echo "${seconds%.*}"
}

# A signal with a trap ends `wait` early. Then the shell waits again. 127: the status was already taken.
wait_for_supervisor() {
  status=127
  while :; do
    caught=''
    while [ -n "$drain" ] && kill -0 "$supervisor" 2>/dev/null; do
      handles_hup && { drain=; pass USR1; break; }
      sleep 1
    done
    wait "$supervisor"
    now=$?
    [ "$now" = 127 ] && [ "$status" != 127 ] && break
    status=$now
    [ -n "$caught" ] || break
  done
}

while [ -z "$ordered" ]; do
  began=$(uptime_seconds)
  "$@" &
  supervisor=$!
  # Race: the signal can arrive before the supervisor's pid is known.
  [ -z "$ordered" ] || kill -s "$ordered" "$supervisor"
  wait_for_supervisor
  supervisor=''
  ran=$(($(uptime_seconds) - began))
  case $status in 0 | 7) exit "$status" ;; esac
  [ -z "$ordered" ] || exit "$status"
  if [ -z "$adopted_once" ] && [ "$ran" -lt 10 ] && [ "$status" -lt 128 ]; then
    echo "curfew-init: the first start failed with status $status" >&2
    exit "$status"
  fi
  adopted_once=1
  [ "$ran" -lt 60 ] || pause=1
  echo "curfew-init: the supervisor ended with status $status after $ran s; next start in $pause s" >&2
  sleep "$pause" &
  sleeper=$!
  while [ -z "$ordered" ] && kill -0 "$sleeper" 2>/dev/null; do wait "$sleeper"; done
  pause=$((pause * 2))
  [ "$pause" -le 30 ] || pause=30
done
exit 143
