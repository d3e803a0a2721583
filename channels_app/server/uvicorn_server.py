"""The production server: uvicorn, which on SIGTERM sends its live connections away one by one before it ends (DESIGN.md §5)."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from channels_app.conf import conf
from channels_app.core import hub

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
        http="httptools",
        ws=PubSubWebSocketProtocol,
        ws_max_size=CLIENT_FRAME_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,  # 300 KB a connection, and one shared frame would have to be packed for each
        lifespan="on",
        log_config=None,  # Django's LOGGING, which redacts keys
        access_log=access_log,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class DrainingServer(uvicorn.Server):
    """Calls `on_listening` with its address once it listens. A first SIGTERM or SIGINT drains, a second one ends at once."""

    def __init__(self, config: uvicorn.Config, *, on_listening: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening(_address(self.servers[0].sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting → drain → uvicorn's own end, which would close every socket at the same moment."""
        for server in self.servers:
            server.close()
        self._release_http_connections()
        await self._drain()
        await super().shutdown(sockets)

    def _release_http_connections(self) -> None:
        """Close those without a request now, the others after their answer (a long poll's comes with the drain)."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, self.config.http_protocol_class):
                connection.shutdown()

    async def _drain(self) -> None:
        logger.info("Draining: live connections are closed over up to %g seconds", conf.DRAIN_SECONDS)
        draining = asyncio.ensure_future(hub.drain(conf.DRAIN_SECONDS))
        while not draining.done() and not self.force_exit:
            await asyncio.wait([draining], timeout=0.1)  # a signal handler cannot wake us: uvicorn looks every 0.1 s as well
        if not draining.done():
            draining.cancel()
            return
        draining.result()


def run(config: uvicorn.Config, *, on_listening: Callable[[str], None]) -> None:
    """Serve until a signal ends it. On Ctrl+C uvicorn raises that signal again when all is done."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it says of a good start and end, we say
    with contextlib.suppress(KeyboardInterrupt):
        DrainingServer(config, on_listening=on_listening).run()


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
