"""Somebody else's HTTP server, in the test's event loop: for what this one sends to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class Receiver:
    """Answers what a test put into `answers`, then 200; while `held` is clear it does not answer."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: list[tuple[str, bytes, dict[str, str]]] = []  # path and query, body, headers
        self.arrived = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()
        self.port = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.path_qs, await request.read(), dict(request.headers)))
        self.arrived.set()
        await self.held.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.held.set()
        await runner.cleanup()
