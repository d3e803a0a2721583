"""socket.io on node: nothing is kept. Needs node, and the package where node finds it (NODE_PATH)."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..processes import free_port, running
from .base import Running, Target

SCRIPT = Path(__file__).with_name("socketio_server.js")


class SocketIO(Target):
    name = "socket.io"
    receipt = "nothing"

    def missing(self) -> str:
        if shutil.which("node") is None:
            return "node is not installed"
        found = subprocess.run(["node", "-e", "require.resolve('socket.io')"], capture_output=True, check=False)
        return "" if found.returncode == 0 else "node does not find socket.io (npm install socket.io, NODE_PATH)"

    @contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        port = free_port()
        with running(["node", str(SCRIPT), str(port)], port, folder / "node.log") as server:
            yield Running(
                subscribe=[
                    *["--subscribe", f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"],
                    *["--subscribe-hello", "40", "--joined", "40{"],
                ],
                publish=["--publish", f"http://127.0.0.1:{port}/publish"],
                pids=[server.pid],
            )
