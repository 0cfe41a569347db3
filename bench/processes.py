# Starts COUNT small processes. Every tenth has the mark of a worker of INSTANCE. All end with this process.
# Usage: processes.py COUNT INSTANCE. Prints "up" when all run.
import ctypes, os, signal, sys, time

count, instance = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None)
for index in range(count):
    env = {"HOME": "/", "PATH": "/bin", "NUMBER": str(index)}
    if index % 10 == 0: env["CURFEW_WORKER"] = "%s/s-%d.1" % (instance, index)
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        os.execve("/bin/sleep", ["sleep", "100000"], env)
time.sleep(11)
if os.fork() == 0:
    libc.prctl(1, signal.SIGKILL)
    os.execve("/bin/sleep", ["sleep", "100000"], {})
print("up", flush=True)
time.sleep(100000)
