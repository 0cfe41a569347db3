# A small worker with one heartbeat a second, on the control socket without a kit.
import json, os, socket, time

line = socket.socket(socket.AF_UNIX)
line.connect(os.environ["CURFEW_SOCKET"])


def say(message):
    line.sendall((json.dumps(message) + "\n").encode())


say({"type": "hello", "v": 1, "worker": os.environ["CURFEW_WORKER"], "token": os.environ["CURFEW_TOKEN"]})
line.recv(65536)
say({"type": "ready"})
while True:
    time.sleep(1)
    say({"type": "heartbeat"})
