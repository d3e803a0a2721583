"""The fronts of publishing, and the comparison of what they answer: the view, the express lane, and its short way."""

import asyncio
import io
import re
from http.client import HTTPResponse
from typing import Any

import httpx
import pytest
import uvicorn
from django.core.asgi import get_asgi_application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from channels_app.conf import conf
from channels_app.server import express
from channels_app.server.application import BodyLimit
from channels_app.server.express import ExpressLane
from channels_app.server.http import PubSubHttpProtocol
from channels_app.server.live_routes import LiveRoutes

# What one answer has for itself; the view says which methods it allows, the server when it answered.
ITS_OWN = {"content-length", "allow", "date", "server", "connection", "twilio-request-id"}

SHORT = 2 if conf.GROUP_COMMIT else 0  # of the two requests over a connection


class Fronts:
    """The same request to all of them.

    `express` counts what was answered in front of Django, `short` what of it went the short way. `path`: where requests go.
    `differs`: what two answers to the same publish cannot have in common.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str, differs: re.Pattern[bytes]) -> None:
        self.express = self.short = 0
        self._path, self._differs = path, differs
        self._count(monkeypatch)
        behind = LiveRoutes(BodyLimit(get_asgi_application()))
        self._view, self._lane = httpx.ASGITransport(behind), httpx.ASGITransport(ExpressLane(behind))
        self._config = uvicorn.Config(ExpressLane(behind), log_config=None, http=PubSubHttpProtocol, ws="none", lifespan="off")
        self._config.load()

    async def all(self, path: str = "", **request: Any) -> httpx.Response:
        """What they answer alike. Over a connection it is asked twice: the second time is another way (`server.http`)."""
        path = path or self._path
        expected = await self._ask(self._view, path, request)
        connection = Connection(self._config)
        answers = [await self._ask(self._lane, path, request), *[await connection.ask(path, request) for _ in range(2)]]
        for answer in answers:
            assert answer.status_code == expected.status_code
            assert self._differs.sub(b"", answer.content) == self._differs.sub(b"", expected.content)
            assert _shared(answer) == _shared(expected)
        return answers[0]

    async def view(self, **request: Any) -> httpx.Response:
        return await self._ask(self._view, self._path, request)

    async def _ask(self, front: httpx.ASGITransport, path: str, request: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=front, base_url="http://test") as client:
            return await client.post(path, **request)

    def _count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer, begin = express.answer, express.begin

        async def answered(*arguments: Any) -> Any:
            response = await answer(*arguments)
            self.express += response is not None
            return response

        def begun(*arguments: Any) -> bool:
            has_begun = begin(*arguments)
            self.short += has_begun
            self.express += has_begun
            return has_begun

        monkeypatch.setattr(express, "answer", answered)
        monkeypatch.setattr(express, "begin", begun)


def _shared(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ITS_OWN}


class Connection(asyncio.Transport):
    """One connection to the server's protocol, without a network: what is fed arrives as one piece."""

    def __init__(self, config: uvicorn.Config, protocol: type[HttpToolsProtocol] = PubSubHttpProtocol) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = self.is_reading_paused = False
        self.protocol = protocol(config, ServerState(), {})
        self.protocol.access_log = False  # in the configuration it is one for the whole process
        self.protocol.connection_made(self)
        self._news = asyncio.Event()

    async def ask(self, path: str, request: dict[str, Any]) -> httpx.Response:
        self.protocol.data_received(raw(path, **request))
        return await self.answer()

    async def answer(self) -> httpx.Response:
        """The answer to all that was fed."""
        async with asyncio.timeout(10):
            while not (self.protocol.cycle.response_complete and self.written):
                await self._news.wait()
                self._news.clear()
        written, self.written = self.written, b""
        return read(written)

    def write(self, data: Any) -> None:
        self.written += data
        self._news.set()

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 123), "sockname": ("127.0.0.1", 80)}.get(name, default)


def raw(path: str, **request: Any) -> bytes:
    """A POST as it goes over a connection."""
    built = httpx.Request("POST", f"http://test{path}", **request)
    lines = [b"POST %s HTTP/1.1" % built.url.raw_path, *(b"%s: %s" % header for header in built.headers.raw)]
    return b"\r\n".join([*lines, b"", built.read()])


def read(written: bytes) -> httpx.Response:
    """The one answer in what a server wrote."""

    class Socket:
        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(written)

    response = HTTPResponse(Socket())  # type: ignore[arg-type]  # all that it asks of one
    response.begin()
    return httpx.Response(response.status, headers=response.getheaders(), content=response.read())
