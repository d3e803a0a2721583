"""What is kept of a client between two of its connections: how far it has got in which stream (wire/twilio.md §8).

A client that comes back brings its continuation token and the streams it wants, but no positions. So the positions it has
acknowledged are kept under the token: in memory, and in Django's session table for the process that it comes back to. That
process begins a new generation, with a row of its own: what the one that the client has left still writes, since it may not
have missed it yet, counts no more. Rows are written before a subscription is confirmed, when a connection ends, and otherwise
again and again, so often that it takes a `SHARE` of the time: after the crash of a server a client may see again what it
acknowledged since, and misses nothing.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import uuid
import weakref
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session as Row
from django.db import DatabaseError, IntegrityError
from django.utils import timezone

from channels_app.conf import conf
from channels_app.core.database import in_thread
from channels_app.core.types import Position
from channels_app.dialects import strict_json

logger = logging.getLogger(__name__)

SHARE = 1 / 20
MIN_PAUSE, MAX_PAUSE = 0.05, 1.0  # seconds between two writes
TIDY_SECONDS = 900.0  # between two looks at sessions that are quiet, or gone; less where they are not kept for long
PREFIX = "twilsock"  # tells our rows from those of people in the admin

_TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{24}}")


@dataclass(eq=False)
class Session:
    """`owner` says whose it is: who brings the token must be the same. `endpoint` names the client in what it publishes."""

    token: str
    owner: tuple[int, str]  # the service's id, the identity
    endpoint: str
    positions: dict[int, Position] = field(default_factory=dict)  # by channel: what the client has acknowledged
    generation: int = 0
    is_resumed: bool = False  # what it published over an earlier connection may still come

    @classmethod
    def new(cls, owner: tuple[int, str]) -> "Session":
        return cls(f"{PREFIX}{secrets.token_hex(12)}", owner, uuid.uuid4().hex)

    @property
    def key(self) -> str:
        """Its row's. Of one token, the newest generation's is the greatest."""
        return _key(self.token, self.generation)

    def resume(self, stored: "Session") -> None:
        """With what the client has acknowledged elsewhere, since a connection was lost here that nobody has missed yet."""
        self.is_resumed = True
        self.generation = max(self.generation, stored.generation)
        for channel_id, position in stored.positions.items():
            own = self.positions.setdefault(channel_id, position)
            if own.epoch == position.epoch and own.id < position.id:
                self.positions[channel_id] = position

    @property
    def author(self) -> str:
        """Who published, as messages say it: JSON."""
        return strict_json.compact({"identity": self.owner[1], "endpoint": self.endpoint})


class Sessions:
    """Those of this event loop's clients. Use `current`."""

    def __init__(self) -> None:
        self._live: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self._dirty: dict[str, Session] = {}
        self._touched = asyncio.Event()  # set while something is dirty
        self._writing = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    async def resume(self, token: object, owner: tuple[int, str]) -> Session:
        """The session of that token, or a new one when there is none that this owner could go on with."""
        stored = None
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            known = self._live.get(token)
            stored = await in_thread(_take, token, owner, known.generation if known else None)
        session = stored or Session.new(owner)
        session = self._live.setdefault(session.token, session)
        if stored:
            session.resume(stored)
        self._keep()
        return session

    def touch(self, session: Session) -> None:
        """It has changed, and will be written soon."""
        self._dirty[session.token] = session
        self._touched.set()

    async def save(self) -> None:
        """All that has changed is written when this returns, by this or by who writes now. Raises DatabaseError."""
        # Others rely on the write of one who is cancelled; and one that is under way must not end after the next.
        await asyncio.shield(asyncio.ensure_future(self._write()))

    async def flush(self) -> None:
        """The same, but what the database does not take now waits for the next time."""
        try:
            await self.save()
        except DatabaseError as error:
            logger.warning("The positions of %d clients wait for the database: %s", len(self._dirty), error)
            await asyncio.sleep(MAX_PAUSE)

    async def _write(self) -> None:
        async with self._writing:
            dirty, self._dirty = self._dirty, {}
            self._touched.clear()
            if not dirty:
                return
            try:
                await in_thread(_store, [_row(dirty[token]) for token in sorted(dirty)])  # sorted: two writers cannot deadlock
            except BaseException:
                self._dirty = dirty | self._dirty
                self._touched.set()
                raise

    def _keep(self) -> None:
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep_while_live())

    async def _keep_while_live(self) -> None:
        loop = asyncio.get_running_loop()
        pause = min(TIDY_SECONDS, conf.TWILIO_SESSION_AGE / 3)
        tidy_at = loop.time() + pause
        while self._live or self._dirty:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._touched.wait(), pause)
            started = loop.time()
            if started >= tidy_at:
                tidy_at = started + pause
                await self._tidy()
            await self.flush()
            await asyncio.sleep(min(max(MIN_PAUSE, (loop.time() - started) / SHARE), MAX_PAUSE))

    async def _tidy(self) -> None:
        self._dirty.update(self._live)  # a quiet client's session must not expire
        with contextlib.suppress(DatabaseError):  # the next time, then
            await in_thread(_remove_expired)

    async def close(self) -> None:
        """Write what is left, and forget everything; the loop's next client gets a new registry."""
        if self._keeping is not None:
            self._keeping.cancel()
        await self.flush()
        _registries.pop(asyncio.get_running_loop(), None)


def _key(token: str, generation: int) -> str:
    return f"{token}{generation:08x}"


def _row(session: Session) -> Row:
    positions = {str(channel_id): [position.id, position.epoch] for channel_id, position in session.positions.items()}
    data = {"owner": session.owner, "endpoint": session.endpoint, "positions": positions}
    expires = timezone.now() + timedelta(seconds=conf.TWILIO_SESSION_AGE)
    return Row(session_key=session.key, session_data=Row.objects.encode(data), expire_date=expires)


def _store(rows: list[Row]) -> None:
    Row.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["session_key"], update_fields=["session_data", "expire_date"]
    )


def _take(token: str, owner: tuple[int, str], held: int | None) -> Session | None:
    """The token's newest generation: the one that this process holds, or a new one of its own."""
    of_token = Row.objects.filter(session_key__range=(_key(token, 0), _key(token, 0xFFFFFFFF)))
    while row := of_token.order_by("session_key").last():
        session = _session(token, row)
        if session is None or session.owner != owner:
            return None
        if session.generation != held:
            session.generation += 1
            try:
                _row(session).save(force_insert=True)
            except IntegrityError:  # another process was faster
                continue
            of_token.filter(session_key__lt=session.key).delete()
        return session
    return None


def _session(token: str, row: Row) -> Session | None:
    data: dict[str, Any] = row.get_decoded()
    if not data or row.expire_date <= timezone.now():  # nothing: sealed with a secret that is not ours any more
        return None
    positions = {int(channel_id): Position(*position) for channel_id, position in data["positions"].items()}
    generation = int(row.session_key.removeprefix(token), 16)
    return Session(token, (data["owner"][0], data["owner"][1]), data["endpoint"], positions, generation)


def _remove_expired() -> None:
    Row.objects.filter(session_key__startswith=PREFIX, expire_date__lt=timezone.now()).delete()


_registries: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Sessions]" = weakref.WeakKeyDictionary()


def current() -> Sessions:
    """The running event loop's sessions."""
    return _registries.setdefault(asyncio.get_running_loop(), Sessions())
