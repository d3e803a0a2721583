"""uvicorn with our WebSocket protocol, and a client that sees every frame: pings, order, and clients that do not read."""

import asyncio
import base64
import contextlib
import itertools
import struct
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from channels_app.dialects.live import FrameSink, text_frame
from channels_app.dialects.sockets import NO_PINGS, Pings, SocketConsumer
from channels_app.server import uvicorn_server
from channels_app.server.websocket import BACKLOG

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
UPGRADE = (
    f"GET /{{path}} HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
)


class Client:
    """Answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The next one: what it is, and what it carries."""
        async with asyncio.timeout(10):
            head, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            return head & 0xF, await self.reader.readexactly(size)

    def send(self, opcode: int, payload: bytes) -> None:
        self.writer.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload)

    async def answer_pings(self, count: int) -> None:
        for _ in range(count):
            opcode, payload = await self.frame()
            assert opcode == PING
            self.send(PONG, payload)


class Echo(SocketConsumer):
    """Says what its client says."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data)


class Quiet(Echo):
    pings = NO_PINGS


class Brisk(Echo):
    pings = Pings(0.02, 5.0)


class Impatient(Echo):
    pings = Pings(0.02, 0.02)


class Flooding(SocketConsumer):
    """Sends without end, from the moment its client has said something; `sent` tells how often."""

    sent = 0

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        for Flooding.sent in itertools.count():
            await self.send(text_data=f"{Flooding.sent:060000}")
            await asyncio.sleep(0)  # a server hears of a client's end only while it may


class Framing(SocketConsumer):
    """Answers with prebuilt frames, as the hub writes them: as many as the connection takes. Then it ends."""

    async def connect(self) -> None:
        connection = FrameSink.of(self.scope, lambda event: b"").connection
        assert not connection.takes_frames, "the handshake is not over"
        await self.accept()
        self.connection = connection

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        while self.connection.takes_frames:
            self.connection.transport.write(text_frame(bytes(50_000)))
        await self.close(code=4200)
        assert not self.connection.takes_frames


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


ROUTES = {"/echo": Echo, "/quiet": Quiet, "/brisk": Brisk, "/impatient": Impatient, "/flood": Flooding, "/frames": Framing}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await ROUTES[scope["path"]].as_asgi()(scope, receive, send)


@asynccontextmanager
async def serving():
    """The server as `serve` configures it, with the routes above."""
    config = uvicorn_server.configure("127.0.0.1", 0)
    config.app, config.lifespan = application, "off"
    server = Server(config)
    running = asyncio.ensure_future(server.serve())
    await until(lambda: server.started)
    yield server
    server.should_exit = server.force_exit = True
    await running


@asynccontextmanager
async def connected(server: Server, path: str):
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE.format(path=path).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    yield Client(reader, writer)
    writer.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (uvicorn has no event to tell)
            await asyncio.sleep(0.001)


# Pings


async def test_the_settings_say_how_often_a_connection_is_pinged(settings):
    settings.PUBSUB = {"PING_INTERVAL": 0.02, "PING_TIMEOUT": 5.0}
    async with serving() as server, connected(server, "echo") as client:
        await client.answer_pings(3)


async def test_connections_of_a_route_without_pings_get_none(settings):
    settings.PUBSUB = {"PING_INTERVAL": 0.02, "PING_TIMEOUT": 5.0}
    async with serving() as server, connected(server, "quiet") as quiet, connected(server, "echo") as pinged:
        await pinged.answer_pings(3)
        quiet.send(TEXT, b"are you there?")
        assert await quiet.frame() == (TEXT, b"are you there?")


async def test_a_route_may_have_pings_of_its_own(settings):
    settings.PUBSUB = {"PING_INTERVAL": 0, "PING_TIMEOUT": 0}
    async with serving() as server, connected(server, "echo") as unpinged, connected(server, "brisk") as pinged:
        await pinged.answer_pings(3)
        unpinged.send(TEXT, b"are you there?")
        assert await unpinged.frame() == (TEXT, b"are you there?")


async def test_a_client_that_answers_no_ping_is_let_go():
    async with serving() as server, connected(server, "impatient") as client:
        assert (await client.frame())[0] == PING
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (CLOSE, (1011).to_bytes(2, "big"))


# What goes in and out


async def test_a_burst_of_frames_is_heard_in_order():
    async with serving() as server, connected(server, "echo") as client:
        for number in range(100):
            client.send(TEXT, b"%d" % number)
        assert [await client.frame() for _ in range(100)] == [(TEXT, b"%d" % number) for number in range(100)]


async def test_a_consumer_waits_for_a_client_that_does_not_read():
    async with serving() as server, connected(server, "flood") as client:
        client.writer.transport.pause_reading()
        client.send(TEXT, b"go")
        (protocol,) = server.server_state.connections
        await until(lambda: not protocol.writable.is_set())
        client.writer.transport.resume_reading()
        for number in range(Flooding.sent + 20):  # all that had been sent, and more
            assert (await client.frame())[1].lstrip(b"0") == (b"%d" % number).lstrip(b"0")


async def test_a_connection_takes_frames_until_too_much_waits_and_none_after_its_end():
    async with serving() as server, connected(server, "frames") as client:
        client.writer.transport.pause_reading()
        client.send(TEXT, b"go")
        (protocol,) = server.server_state.connections
        await until(lambda: not protocol.writable.is_set())
        assert BACKLOG < protocol.transport.get_write_buffer_size() <= BACKLOG + len(text_frame(bytes(50_000)))
        client.writer.transport.resume_reading()
        while (frame := await client.frame())[0] == TEXT:
            assert frame[1] == bytes(50_000)
        assert (frame[0], frame[1][:2]) == (CLOSE, (4200).to_bytes(2, "big"))
        client.send(CLOSE, frame[1])
        assert await client.reader.read() == b""


async def test_a_connection_that_was_too_slow_takes_frames_again_once_it_is_not():
    async with serving() as server, connected(server, "flood") as client:
        client.writer.transport.pause_reading()
        client.send(TEXT, b"go")
        (protocol,) = server.server_state.connections
        await until(lambda: not protocol.takes_frames)
        client.writer.transport.resume_reading()
        while not protocol.takes_frames:
            await client.frame()


@pytest.mark.parametrize("end", [(CLOSE, (1000).to_bytes(2, "big")), None], ids=["says goodbye", "is gone"])
async def test_a_connection_whose_client_has_ended_it_takes_no_frames(end):
    async with serving() as server, connected(server, "echo") as client:
        client.send(TEXT, b"ready?")
        await client.frame()
        (protocol,) = server.server_state.connections
        assert protocol.takes_frames
        client.send(*end) if end else client.writer.transport.abort()
        await until(lambda: not protocol.takes_frames)


@pytest.mark.parametrize("count", [1, 20])
async def test_a_quiet_connection_holds_one_task(count):
    async with serving() as server, contextlib.AsyncExitStack() as clients:
        before = len(asyncio.all_tasks())
        for _ in range(count):
            client = await clients.enter_async_context(connected(server, "echo"))
            client.send(TEXT, b"ready?")
            await client.frame()
        assert len(asyncio.all_tasks()) == before + count
