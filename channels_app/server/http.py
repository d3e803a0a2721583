"""uvicorn's HTTP protocol, with a short way for publishes that have to wait for nothing but their commit.

Such a request needs no task and none of ASGI's events: `express.begin` publishes it from the callback that has its last byte,
and the answer is written when the commit is known. All else goes uvicorn's own way, through the application, which has the
same express lane: what a client gets does not depend on the way.

Who publishes often sends the same head again and again. One that differs from the one before in nothing but the length of its
body means the same: so it is compared, which costs a twentieth of what it costs to parse it.

And heads have limits, in bytes and seconds, which uvicorn and its parser do not have.
"""

import asyncio
import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from channels_app.conf import conf
from channels_app.dialects.base import Claim, Response
from channels_app.dialects.live import header_list

from . import express
from .asgi import Application

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
LONGEST = 9  # digits of a length


class Repeatable(NamedTuple):
    """A request that went the short way, ready to come again with another body.

    `before` and `after` are its head without the digits of Content-Length; `cycle` is what uvicorn knows of it.
    """

    before: bytes
    after: bytes
    max_body: int
    claim: Claim
    cycle: RequestResponseCycle
    tell: Callable[[Response | Exception], None]

    def body(self, data: bytes) -> bytes | None:
        """The body, when the data are that request again, all of it and nothing else."""
        if not data.startswith(self.before):
            return None
        start = len(self.before)
        end = data.find(b"\r", start)
        digits = data[start:end]
        if not digits.isdigit() or len(digits) > LONGEST or not data.startswith(self.after, end):
            return None
        body = data[end + len(self.after) :]
        return body if len(body) == int(digits) <= self.max_body else None


class PubSubHttpProtocol(HttpToolsProtocol):
    """Named in `uvicorn_server.configure`; uvicorn is pinned to a minor version because of this class as well."""

    _claim: Claim | None = None  # of the request that is being read, if it may go the short way
    _repeatable: Repeatable | None = None
    _data = b""  # what the parser reads, when a request begins with it
    _is_between = True  # requests: the next byte is the first of one
    _answered_at = 0.0  # the short way, by the event loop's clock
    _is_in_head = False  # of a request: its end has not come yet
    _framing = 0  # bytes of the request that are no body: head, trailers, what is around chunks
    _late: asyncio.TimerHandle | None = None  # when the head that is waited for has not come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(conf.HEAD_TIMEOUT, self.transport.close)

    def _have_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def data_received(self, data: bytes) -> None:
        if self._is_between:
            if self._repeatable is not None and self._publish_again(self._repeatable, data):
                return
            self._data = data
        self._framing += len(data)
        super().data_received(data)
        self._data = b""
        if self._framing > conf.MAX_HEAD:
            self._refuse_head()
        elif self._is_in_head and self._late is None:
            self._expect_head()

    def _refuse_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else it would be in the middle of another answer
            text = f"The head of the request has more than {conf.MAX_HEAD} bytes."
            headers = header_list({"Content-Type": "text/plain; charset=utf-8"})
            self.transport.write(self._written(Response(431, headers, text.encode()), keep_alive=False))
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between = False
        self._framing = 0  # what came with its first bytes is not counted: it may be another request's
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._have_head()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Application) -> None:  # type: ignore[override]
        """Called with the head of a request, once the one before it is answered."""
        if cycle.more_body and cycle.keep_alive and not (self.access_log or cycle.waiting_for_100_continue):
            self._claim = express.claim(cycle.scope)  # type: ignore[arg-type]  # a dictionary
        if self._claim is None:
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._framing -= len(body)
        if self._claim is not None:
            self.flow.resume_reading()  # uvicorn stops at 64 KiB until the application asks; a claim's body is bounded

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_between = True
        claim, self._claim = self._claim, None
        if claim is None:
            return
        cycle, body = self.cycle, bytes(self.cycle.body)
        tell = functools.partial(self._answer, cycle)
        if self.flow.write_paused or not express.begin(claim, body, tell):
            super()._start_asgi_task(cycle, self.app)
            return
        cycle.body = bytearray()  # as uvicorn's own way leaves it: a connection that waits must not hold 64 KiB
        head, empty_line, rest = self._data.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if length is not None and len(rest) == len(body):
            before, after = head[: length.start(1)], head[length.end(1) :] + empty_line
            self._repeatable = Repeatable(before, after, express.max_body(cycle.scope), claim, cycle, tell)  # type: ignore[arg-type]

    def _publish_again(self, request: Repeatable, data: bytes) -> bool:
        if not self.cycle.response_complete or self.flow.write_paused:
            return False
        body = request.body(data)
        if body is None or not express.begin(request.claim, body, request.tell):
            return False
        self.cycle = request.cycle
        self.cycle.response_complete = False
        return True

    def _answer(self, cycle: RequestResponseCycle, response: Response | Exception) -> None:
        if self.transport.is_closing():
            return
        if isinstance(response, Exception):
            self.logger.error("Exception while a publish was answered\n", exc_info=response)
            self.loop.create_task(cycle.send_500_response())
            return
        self.transport.write(self._written(response, cycle.keep_alive))
        cycle.response_complete = True
        if not cycle.keep_alive:  # the server is about to end
            self.transport.close()
        self._answered_at = self.loop.time()
        if self.pipeline or self.timeout_keep_alive_task is None:
            self.on_response_complete()
        else:  # its timer runs on: to cancel it and start another one is a tenth of what the rest costs
            self.server_state.total_requests += 1

    def _written(self, response: Response, keep_alive: bool) -> bytes:
        lines = [STATUS_LINE[response.status]]
        for name, value in (*self.server_state.default_headers, *response.headers):
            lines += (name, b": ", value, b"\r\n")
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"content-length: %d\r\n\r\n" % len(response.body), response.body)
        return b"".join(lines)

    def connection_lost(self, exc: Exception | None) -> None:
        """What would hold this protocol longer than its connection goes at once: the collector looks rarely."""
        super().connection_lost(exc)
        self._have_head()
        self._unset_keepalive_if_required()  # uvicorn leaves it to who was reset, and ours goes on until there is an answer
        self._repeatable = None
        self.cycle = None  # type: ignore[assignment]  # as before the first request

    def timeout_keep_alive_handler(self) -> None:
        rest = self.timeout_keep_alive - (self.loop.time() - self._answered_at)
        if not self.cycle.response_complete:
            rest = self.timeout_keep_alive
        if rest > 0:
            self.timeout_keep_alive_task = self.loop.call_later(rest, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()
