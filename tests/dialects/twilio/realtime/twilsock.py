"""A Twilsock client of a few lines, in the test's own process: what the SDK sends, and what it never would."""

import asyncio
import functools
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator

from channels_app.core.recovery import Event
from channels_app.dialects.twilio.realtime import frames
from channels_app.dialects.twilio.realtime.consumer import TwilsockConsumer
from channels_app.dialects.twilio.realtime.frames import Frame

PATIENCE = 10.0
HOST = "https://cds.us1.twilio.com"
_numbers = itertools.count(1)


class Closed(Exception):
    """The server has closed the WebSocket; `code` says why."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(str(code))


class DirectSink:
    """The connection of a server that lets frames be written past the application, as ours does."""

    backlog = 0
    takes_frames = True

    def __init__(self, written: "asyncio.Queue[dict[str, Any]]", encode: Callable[[Event], bytes]) -> None:
        self.encode = encode
        self.connection = self.transport = self
        self._written = written

    def write(self, data: bytes) -> None:
        while data:
            head = 2 if data[1] < 126 else 4
            end = head + (data[1] if head == 2 else int.from_bytes(data[2:4], "big"))
            self._written.put_nowait({"type": "websocket.send", "bytes": data[head:end]})
            data = data[end:]

    async def send(self, events: Sequence[Event]) -> None:
        self.write(b"".join(map(self.encode, events)))


class Twilsock:
    """One connection. What the server tells of its own accord waits in `told` until a test asks for it."""

    def __init__(self) -> None:
        self._socket: ApplicationCommunicator = WebsocketCommunicator(TwilsockConsumer.as_asgi(), "/v3/wsconnect")
        self.told: list[Frame] = []

    @classmethod
    async def open(cls, *, direct: bool = False) -> "Twilsock":
        client = cls()
        if direct:
            make = functools.partial(DirectSink, client._socket.output_queue)
            client._socket.scope["extensions"] = {"pubsub.frames": make}
        connected, _ = await client._socket.connect(timeout=PATIENCE)
        assert connected
        return client

    @classmethod
    async def start(cls, token: str, continuation_token: str | None = None, *, direct: bool = False) -> "Twilsock":
        """A connection that has said who it is."""
        client = await cls.open(direct=direct)
        reply = await client.init(token, continuation_token)
        assert reply["status"] == {"code": 200, "status": "OK"}
        client.continuation_token = reply["continuation_token"]
        return client

    continuation_token = ""

    # Sending

    async def send_bytes(self, data: bytes) -> None:
        await self._socket.send_input({"type": "websocket.receive", "bytes": data})

    async def send_text(self, data: str) -> None:
        await self._socket.send_input({"type": "websocket.receive", "text": data})

    async def send(self, method: str, payload: bytes = b"", **header: Any) -> str:
        id_ = f"TM{next(_numbers)}"
        await self.send_bytes(frames.encode({"method": method, "id": id_, **header}, payload))
        return id_

    async def ask(self, method: str, payload: bytes = b"", **header: Any) -> Frame:
        """Send it, and wait for the reply."""
        id_ = await self.send(method, payload, **header)
        while True:
            frame = await self._receive()
            if frame.method == "reply" and frame.id == id_:
                return frame
            self.told.append(frame)

    async def init(self, token: object, continuation_token: object = None) -> dict[str, Any]:
        reply = await self.ask("init", token=token, continuation_token=continuation_token)
        return dict(reply.header)

    async def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Tunnelled REST: the status and the body of its answer."""
        asked = {"host": "cds.us1.twilio.com", "path": path, "method": method, "params": {}, "headers": headers}
        # The SDK's DELETE brings a word instead of a body.
        payload = b"data_sync" if method == "DELETE" else b"" if body is None else json.dumps(body).encode()
        reply = await self.ask("message", payload, active_grant="data_sync", http_request=asked)
        assert reply.header["status"] == {"code": 200, "status": "OK"}
        return reply.header["http_status"]["code"], json.loads(reply.payload) if reply.payload else None

    async def open_stream(self, name: str = "heatmap") -> dict[str, Any]:
        """The stream's descriptor; it is made when there is none."""
        status, stream = await self.request("GET", f"/v3/Streams/{name}")
        if status == 404:
            status, stream = await self.request("POST", "/v3/Streams", {"unique_name": name})
        assert status in (200, 201), stream
        return dict(stream)

    async def publish(self, data: object, name: str = "heatmap", **headers: str) -> tuple[int, Any]:
        """To where the stream's own links say."""
        url: str = (await self.open_stream(name))["links"]["messages"]
        return await self.request("POST", url.removeprefix(HOST), {"data": data}, **headers)

    async def subscriptions(self, action: str, *sids: str, kind: str = "stream", correlation_id: object = 1) -> None:
        requests = [{"object_sid": sid, "object_type": kind, "last_event_id": None} for sid in sids]
        body = {"event_protocol_version": 4, "action": action, "correlation_id": correlation_id, "requests": requests}
        status, answer = await self.request("POST", "/v4/Subscriptions", body)
        assert status == 200, answer
        assert answer["estimated_delivery_in_ms"] > 0

    async def subscribe(self, *sids: str) -> None:
        """Listen to the streams; returns once nothing of them can be missed."""
        await self.subscriptions("establish", *sids)
        for _ in sids:
            await self.event("subscription_established")

    # Receiving

    async def event(self, event_type: str) -> dict[str, Any]:
        """The next notification, which must be of that type; it is acknowledged, as the SDK does."""
        frame = await self.next("notification")
        await self.acknowledge(frame)
        payload: dict[str, Any] = json.loads(frame.payload)
        assert payload["event_type"] == event_type, payload
        return payload["event"] | {"correlation_id": payload.get("correlation_id")}

    async def message(self) -> Any:
        """The data of the next message."""
        return (await self.event("stream_message_published"))["message_data"]

    async def messages(self, count: int) -> list[Any]:
        return [await self.message() for _ in range(count)]

    async def next(self, method: str) -> Frame:
        """The next frame that is no reply, which must have that method."""
        frame = self.told.pop(0) if self.told else await self._receive()
        assert frame.method == method, frame
        return frame

    async def acknowledge(self, frame: Frame) -> None:
        await self.send_bytes(frames.encode({"method": "reply", "id": frame.id, "status": {"code": 200, "status": "OK"}}))

    async def _receive(self) -> Frame:
        event = await self._socket.receive_output(PATIENCE)
        if event["type"] == "websocket.close":
            raise Closed(event["code"])
        return frames.decode(event["bytes"])

    # The end

    async def closed(self) -> int:
        """The code with which the server closes the WebSocket, after whatever it still has to tell."""
        while True:
            try:
                self.told.append(await self._receive())
            except Closed as closed:
                return closed.code

    async def leave(self) -> None:
        """Without a word, as networks do."""
        await self._socket.send_input({"type": "websocket.disconnect", "code": 1006})
        async with asyncio.timeout(PATIENCE):
            await self._socket.wait(PATIENCE)
