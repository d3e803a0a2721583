"""Nchan: pub/sub inside nginx, in memory. Needs nginx with the module (Debian: nginx, libnginx-mod-nchan)."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ..processes import free_port, running
from .base import Running, Target

MODULES = (
    os.environ.get("NCHAN_MODULE", ""),
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/etc/nginx/modules/ngx_nchan_module.so",
)
CONFIGURATION = """
{load_module}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  nchan_shared_memory_size 512m;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    nchan_channel_id room;
    nchan_message_buffer_length {buffer};
    nchan_message_timeout 1h;
    location /publish {{ nchan_publisher; }}
    location /subscribe {{ nchan_subscriber websocket; nchan_subscriber_first_message {first}; }}
  }}
}}
"""


class Nchan(Target):
    name = "Nchan"
    receipt = "in memory, ordered"

    def missing(self) -> str:
        if shutil.which("nginx") is None:
            return "nginx is not installed"
        if self._module() is None:
            return "nginx has no Nchan module (NCHAN_MODULE names its file)"
        return ""

    def start(self, folder: Path) -> AbstractContextManager[Running]:
        return self.serve(folder)

    @contextmanager
    def serve(self, folder: Path, *, replay: bool = False) -> Iterator[Running]:
        """With `replay`, a new subscriber gets what is kept of the channel; otherwise what comes from then on."""
        port = free_port()
        module = self._module()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                load_module=f"load_module {module};" if module else "",
                folder=folder,
                port=port,
                buffer=20_000 if replay else 1_000,
                first="oldest" if replay else "newest",
            )
        )
        command = ["nginx", "-p", str(folder), "-c", str(configuration), "-e", str(folder / "start.log")]
        with running(command, port, folder / "nginx.log") as server:
            yield Running(
                subscribe=["--subscribe", f"ws://127.0.0.1:{port}/subscribe"],
                publish=["--publish", f"http://127.0.0.1:{port}/publish"],
                pids=[server.pid, *_children(server.pid)],
            )

    @staticmethod
    @functools.cache
    def _module() -> str | None:
        """The module's file; "" when it is built in; None when there is none."""
        version = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False).stderr
        if "nchan" in version and "add-dynamic-module" not in version:
            return ""
        return next((path for path in MODULES if path and Path(path).exists()), None)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
