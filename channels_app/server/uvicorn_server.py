"""The production server: uvicorn, which on SIGTERM sends its live connections away one by one before it ends (DESIGN.md §5)."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import uvicorn

from channels_app.conf import conf
from channels_app.core import hub

from .health import Health, nothing_else
from .http import PubSubHttpProtocol
from .websocket import PubSubWebSocketProtocol

logger = logging.getLogger(__name__)

CLIENT_FRAME_BYTES = 64 * 1024  # what clients send on a socket is ignored: no reason to hold more of it
KEEP_ALIVE_SECONDS = 75  # longer than a client's pause between two requests, so that it rarely meets a closing connection
GRACE_SECONDS = 5  # for requests that still run when the drain is over


def configure(host: str, port: int, *, access_log: bool = False) -> uvicorn.Config:
    """`FORWARDED_ALLOW_IPS` (environment) names the proxies whose X-Forwarded-* headers are believed; none but loopback."""
    return uvicorn.Config(
        "pubsub_site.asgi:application",
        host=host,
        port=port,
        loop="uvloop",
        http=PubSubHttpProtocol,
        ws=PubSubWebSocketProtocol,
        ws_max_size=CLIENT_FRAME_BYTES,
        ws_ping_interval=conf.PING_INTERVAL or None,  # a dialect may want it otherwise (`dialects.sockets`)
        ws_ping_timeout=conf.PING_TIMEOUT or None,
        ws_per_message_deflate=False,  # 300 KB a connection, and one shared frame would have to be packed for each
        lifespan="on",
        log_config=None,  # Django's LOGGING, which redacts keys
        access_log=access_log,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _configure_watching() -> uvicorn.Config:
    return uvicorn.Config(
        Health(nothing_else, is_private=True),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,  # and no word of access_log: that is one for the whole process
        server_header=False,
        timeout_graceful_shutdown=1,
    )


class WatchingServer(uvicorn.Server):
    """/metrics, /livez and /readyz on an address of their own, which is taken at once: raises OSError when it cannot be.

    Serves in the event loop of another server, which gets the signals and says when to end.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(_configure_watching())
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve([self._listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DrainingServer(uvicorn.Server):
    """Calls `on_listening` with its address once it listens. A first SIGTERM or SIGINT drains, a second one ends at once.

    `watching` answers beside it, from its start until its drain is over.
    """

    def __init__(
        self, config: uvicorn.Config, *, on_listening: Callable[[str], None], watching: WatchingServer | None = None
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._watching = watching

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        watching = asyncio.ensure_future(self._watching.serve()) if self._watching else None
        await super().serve(sockets)
        if self._watching and watching:
            self._watching.should_exit = True
            await watching

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening(_address(self.servers[0].sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so at /readyz → stop accepting → drain → uvicorn's own end, which would close every socket at the same moment."""
        hub.announce_leaving()
        await self._unless_forced(asyncio.sleep(conf.DRAIN_DELAY))
        for server in self.servers:
            server.close()
        self._release_http_connections()
        logger.info("Draining: live connections are closed over up to %g seconds", conf.DRAIN_SECONDS)
        await self._unless_forced(hub.drain(conf.DRAIN_SECONDS))
        await super().shutdown(sockets)

    def _release_http_connections(self) -> None:
        """Close those without a request now, the others after their answer (a long poll's comes with the drain)."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, self.config.http_protocol_class):
                connection.shutdown()

    async def _unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Do that, until it is done or a second signal comes."""
        task = asyncio.ensure_future(work)
        while not task.done() and not self.force_exit:
            await asyncio.wait([task], timeout=0.1)  # a signal handler cannot wake us: uvicorn looks every 0.1 s as well
        if not task.done():
            task.cancel()
            return
        task.result()


def run(server: DrainingServer, sockets: list[socket.socket] | None = None) -> None:
    """Serve until a signal ends it. On Ctrl+C uvicorn raises that signal again when all is done."""
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
