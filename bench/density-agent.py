"""The example agent, which LiveKit's own runner also starts on a busy machine: it refuses calls above its load limit."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "livekit-agents"))
from agent import server  # noqa: E402
from livekit.agents import cli  # noqa: E402

server.load_fnc = lambda: 0.0

if __name__ == "__main__":
    cli.run_app(server)
