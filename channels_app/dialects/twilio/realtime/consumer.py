"""Twilsock (wire/twilio.md §8): the WebSocket that Twilio's JavaScript SDK speaks, as a consumer.

A client says `init` with its Access Token. From then on it sends requests in `message` frames (`tunnel.py`), is told of what
happens to the streams that it subscribed to (`subscriptions.py`), and acknowledges each notification with a `reply`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from django.db import DatabaseError

from channels_app.core.database import in_thread
from channels_app.core.errors import InvalidKey, NotFound, PubSubError
from channels_app.core.types import RESTARTING, REVOKED, CloseReason
from channels_app.dialects.live import Scope, Send, json_response, send_response
from channels_app.dialects.sockets import SocketConsumer

from .. import webhooks
from ..errors import render
from . import events, frames, sessions, tunnel
from .client import Client, admit
from .frames import Frame, FrameError
from .subscriptions import Connection, Subscriptions
from .tokens import INVALID, TokenError

INIT_SECONDS = 20.0  # in which a client must have said who it is
PARTING_SECONDS = 1.5  # in which a client that is sent away acknowledges what it got, and leaves; less than the hub waits
WARNING_SECONDS = 180.0  # before a token expires; half of its time when that is less
LONGEST_SLEEP = 100_000_000.0  # three years: timers have an end
CAPABILITIES = ("client_update", "offline_storage")  # not telemetry.v1: nobody would look at it
GONE = (OSError, RuntimeError)  # the client has left, or the server has closed what was no WebSocket any more
NOTHING_TO_DO = ("put_notification_ctx", "delete_notification_ctx", "telemetry.v1")

Status = tuple[int, str]
OK: Status = (200, "OK")
OFFLOADED: Status = (308, "RECONNECT")
BAD_REQUEST: Status = (400, "BAD REQUEST")
UNAUTHORIZED: Status = (401, "UNAUTHORIZED")  # the SDK looks for this very word
NOT_ACCEPTABLE: Status = (406, "NOT ACCEPTABLE")
EXPIRED: Status = (410, "TOKEN EXPIRED")
UNAVAILABLE: Status = (503, "SERVICE UNAVAILABLE")

# For those who do not read the frame before it (DESIGN.md §5)
CLOSE_CODES = {
    OFFLOADED: RESTARTING.code,
    UNAUTHORIZED: REVOKED.code,
    NOT_ACCEPTABLE: 1002,
    EXPIRED: REVOKED.code,
}


class TwilsockConsumer(SocketConsumer):
    _caller: tunnel.Caller | None = None  # None: it has not said who it is
    _watching: asyncio.Task[None] | None = None  # the clock: for the init, then for the token
    _parting = False  # it has been told to leave: nothing more is said to it
    _closed = False

    async def connect(self) -> None:
        self._left = asyncio.Event()
        await self.accept()
        self._watch(self._expect_init())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._closed:
            return
        try:
            frame = frames.decode(bytes_data or b"")
        except FrameError:
            await self._refuse_to_go_on(NOT_ACCEPTABLE)
            return
        if frame.method == "close":
            await self._close(1000)
        elif self._caller is not None:
            await self._handle(self._caller, frame)
        elif frame.method == "init":
            await self._init(frame)
        else:
            await self._refuse_to_go_on(UNAUTHORIZED)

    async def ended(self) -> None:
        self._closed = True
        self._left.set()
        if self._watching is not None:
            self._watching.cancel()
        if self._caller is not None:
            session = self._caller.session
            webhooks.endpoint_disconnected(*session.owner, session.endpoint)
            await self._caller.subscriptions.close()
            await sessions.current().flush()

    async def _handle(self, caller: tunnel.Caller, frame: Frame) -> None:
        if frame.method == "reply":
            caller.subscriptions.acknowledge(frame.id)
        elif self._parting:
            pass
        elif frame.method == "message":
            await self._request(caller, frame)
        elif frame.method == "update":
            await self._renew(caller, frame)
        else:
            await self._reply(frame, OK if frame.method in NOTHING_TO_DO else BAD_REQUEST)

    # Who it is

    async def _init(self, frame: Frame) -> None:
        client = await self._admit(frame)
        if client is None:
            return
        try:
            session = await sessions.current().resume(frame.header.get("continuation_token"), client.owner)
        except DatabaseError:
            await self._reply(frame, UNAVAILABLE)
            return
        subscriptions = Subscriptions(Connection(self.scope, session, self._write, self._closed_by_hub))
        self._caller = tunnel.Caller(client, session, subscriptions, self._write)
        webhooks.endpoint_connected(*session.owner, session.endpoint)
        self._watch(self._expect_expiry(client.grant.expires_at))
        storage = {"data_sync": {"storage_id": client.storage_id}}
        await self._reply(frame, OK, continuation_token=session.token, capabilities=CAPABILITIES, offline_storage=storage)

    async def _renew(self, caller: tunnel.Caller, frame: Frame) -> None:
        client = await self._admit(frame)
        if client is None:
            return
        if client.owner != caller.client.owner:  # what was subscribed is the other one's
            await self._refuse(frame, TokenError(INVALID))
            return
        caller.renew(client)
        self._watch(self._expect_expiry(client.grant.expires_at))
        await self._reply(frame, OK)

    async def _admit(self, frame: Frame) -> Client | None:
        """Whose token the frame brings; None, and answered, when it is no good."""
        try:
            return await in_thread(admit, frame.header.get("token"))
        except TokenError as error:
            await self._refuse(frame, error)
        except (PubSubError, DatabaseError):
            await self._reply(frame, UNAVAILABLE)
        return None

    async def _refuse(self, frame: Frame, error: TokenError) -> None:
        """The SDK's state is then "denied", until it gets another token: with that it comes back."""
        code, status = UNAUTHORIZED
        told = {"code": code, "status": status, "errorCode": error.code, "description": error.message}
        await self._write(frames.encode({"method": "reply", "id": frame.id, "status": told}))
        await self._close(CLOSE_CODES[UNAUTHORIZED])

    # What it asks

    async def _request(self, caller: tunnel.Caller, frame: Frame) -> None:
        try:
            answer = await tunnel.answer(caller, frame)
        except InvalidKey:
            await self._refuse_to_go_on(UNAUTHORIZED)  # the key that signed its token is no more
        else:
            await self._reply(frame, OK, answer.body, **answer.header)

    async def _reply(self, frame: Frame, status: Status, payload: bytes = b"", **fields: Any) -> None:
        header = {"method": "reply", "id": frame.id, "status": {"code": status[0], "status": status[1]}, **fields}
        await self._write(frames.encode(header, payload))

    # How it ends

    def _watch(self, clock: Coroutine[Any, Any, None]) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.ensure_future(clock)

    async def _expect_init(self) -> None:
        await asyncio.sleep(INIT_SECONDS)
        await self._refuse_to_go_on(UNAUTHORIZED)

    async def _expect_expiry(self, expires_at: int) -> None:
        left = expires_at - time.time()
        await _sleep_until(expires_at - min(WARNING_SECONDS, left / 2))
        await self._write(events.token_about_to_expire())
        await _sleep_until(expires_at)
        await self._send_away(EXPIRED)

    async def _closed_by_hub(self, reason: CloseReason) -> None:
        await self._send_away(OFFLOADED if reason is RESTARTING else UNAUTHORIZED)

    async def _send_away(self, status: Status) -> None:
        """Returns when the client has left. Until then it is heard: what it still acknowledges it will not get again."""
        await self._write(events.close(*status))
        self._parting = True
        if self._caller is not None:
            self._caller.subscriptions.hush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._left.wait(), PARTING_SECONDS)
        await self._close(CLOSE_CODES[status])

    async def _refuse_to_go_on(self, status: Status) -> None:
        await self._write(events.close(*status))
        await self._close(CLOSE_CODES[status])

    async def _close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(*GONE):
                await self.close(code)

    async def _write(self, frame: bytes) -> None:
        if not (self._parting or self._closed):
            with contextlib.suppress(*GONE):
                await self.send(bytes_data=frame)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(min(moment - time.time(), LONGEST_SLEEP))


_consumer = TwilsockConsumer.as_asgi()


async def twilsock(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """The ASGI application of `/v3/wsconnect`, which is nothing but a WebSocket."""
    if scope["type"] == "websocket":
        await _consumer(scope, receive, send)
    else:
        await send_response(send, json_response(404, render(NotFound("route"), scope["path"])[1]))
