"""What the server keeps of a Twilsock client between its connections: how far it has got in which stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session as Row
from django.db import DatabaseError
from django.utils import timezone

from channels_app.core.database import in_thread
from channels_app.core.types import Position
from channels_app.dialects.twilio.realtime import sessions
from channels_app.dialects.twilio.realtime.sessions import Session, Sessions

pytestmark = pytest.mark.django_db(transaction=True)

CIRI = (7, "ciri")
POSITIONS = {1: Position(41, "epoch-1"), 2: Position(0, "epoch-2")}


@pytest_asyncio.fixture
async def here() -> AsyncIterator[Sessions]:
    here = Sessions()
    yield here
    await here.close()


@pytest_asyncio.fixture
async def elsewhere() -> AsyncIterator[Sessions]:
    """Another process, or the next one: it knows what is stored and nothing else."""
    elsewhere = Sessions()
    yield elsewhere
    await elsewhere.close()


async def save(registry: Sessions, session: Session) -> None:
    registry.touch(session)
    await registry.save()


async def saved(here: Sessions) -> Session:
    session = await here.resume(None, CIRI)
    session.positions.update(POSITIONS)
    await save(here, session)
    return session


async def test_a_client_that_comes_back_has_its_positions(here: Sessions) -> None:
    session = await saved(here)
    again = await here.resume(session.token, CIRI)
    assert again is session


async def test_another_process_knows_them_once_they_are_saved(here: Sessions, elsewhere: Sessions) -> None:
    session = await saved(here)
    again = await elsewhere.resume(session.token, CIRI)
    assert (again.token, again.endpoint, again.positions) == (session.token, session.endpoint, POSITIONS)


async def test_who_comes_back_from_another_process_has_what_it_acknowledged_there(here: Sessions, elsewhere: Sessions) -> None:
    lost = await saved(here)  # its connection is gone, and nobody has missed it yet
    there = await elsewhere.resume(lost.token, CIRI)
    there.positions[1] = Position(50, "epoch-1")
    await save(elsewhere, there)
    assert (await here.resume(lost.token, CIRI)).positions == {**POSITIONS, 1: Position(50, "epoch-1")}


async def test_where_a_client_has_left_nothing_of_it_is_written_any_more(here: Sessions, elsewhere: Sessions) -> None:
    left = await saved(here)  # its connection is gone, and nobody has missed it yet
    there = await elsewhere.resume(left.token, CIRI)
    there.positions.update({1: Position(90, "epoch-1"), 3: Position(4, "epoch-3")})
    await save(elsewhere, there)
    other = await here.resume(None, CIRI)
    here.touch(left)
    await save(here, other)
    third = Sessions()
    assert (await third.resume(left.token, CIRI)).positions == there.positions
    assert (await third.resume(other.token, CIRI)).token == other.token, "what is written with it is"
    await third.close()


async def test_of_two_processes_that_a_client_comes_to_at_once_one_is_the_last(here: Sessions, elsewhere: Sessions) -> None:
    token = (await saved(here)).token
    third = Sessions()
    first, second = await asyncio.gather(elsewhere.resume(token, CIRI), third.resume(token, CIRI))
    assert first.generation != second.generation
    assert first.positions == second.positions == POSITIONS
    await third.close()


async def test_what_counts_no_more_is_removed(here: Sessions, elsewhere: Sessions) -> None:
    left = await saved(here)
    there = await elsewhere.resume(left.token, CIRI)
    assert [row.session_key async for row in Row.objects.filter(session_key__startswith=left.token)] == [there.key]


async def test_who_goes_and_comes_back_is_written_again(here: Sessions, elsewhere: Sessions) -> None:
    session = await saved(here)
    await elsewhere.resume(session.token, CIRI)
    assert await here.resume(session.token, CIRI) is session
    session.positions[1] = Position(60, "epoch-1")
    await save(here, session)
    assert (await elsewhere.resume(session.token, CIRI)).positions == session.positions


@pytest.mark.parametrize("owner", [(7, "emhyr"), (8, "ciri")])
async def test_nobody_else_goes_on_with_them(here: Sessions, elsewhere: Sessions, owner: tuple[int, str]) -> None:
    session = await saved(here)
    for registry in (here, elsewhere):
        other = await registry.resume(session.token, owner)
        assert other.token != session.token
        assert other.positions == {}


@pytest.mark.parametrize(
    "token", [None, "", 7, [], "x" * 40, "twilsock" + "0" * 24, "twilsock" + "0" * 32, "twilsock" + "G" * 24, "\x00" * 40]
)
async def test_a_token_that_nobody_was_given_starts_anew(here: Sessions, token: object) -> None:
    session = await here.resume(token, CIRI)
    assert session.token != token
    assert session.positions == {}


async def test_a_session_of_the_admin_is_none_of_ours(here: Sessions) -> None:
    key = "twilsock" + "a" * 24
    row = Row(session_key=f"{key}00000000", session_data=Row.objects.encode({}), expire_date=timezone.now() + timedelta(days=1))
    await sync_to_async(row.save)()
    assert (await here.resume(key, CIRI)).token != key


async def test_what_expired_is_forgotten_and_removed(here: Sessions, elsewhere: Sessions) -> None:
    session = await saved(here)
    await Row.objects.filter(session_key=session.key).aupdate(expire_date=timezone.now() - timedelta(seconds=1))
    assert (await elsewhere.resume(session.token, CIRI)).positions == {}
    await sync_to_async(sessions._remove_expired)()
    assert not await Row.objects.filter(session_key=session.key).aexists()


async def test_a_client_that_is_quiet_is_not_forgotten(here: Sessions, elsewhere: Sessions, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_SESSION_AGE": 2}
    session = await saved(here)
    await asyncio.sleep(2.2)
    assert (await elsewhere.resume(session.token, CIRI)).positions == POSITIONS


async def test_what_changed_is_written_with_the_next_that_is_saved(here: Sessions, elsewhere: Sessions) -> None:
    quiet, saving = await here.resume(None, CIRI), await here.resume(None, CIRI)
    quiet.positions.update(POSITIONS)
    here.touch(quiet)
    await save(here, saving)
    assert (await elsewhere.resume(quiet.token, CIRI)).positions == POSITIONS


async def test_nothing_is_lost_while_the_database_is_away(
    here: Sessions, elsewhere: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await here.resume(None, CIRI)
    session.positions.update(POSITIONS)

    def away(*_: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(sessions, "MAX_PAUSE", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(sessions, "_store", away)
        await here.flush()
        with pytest.raises(DatabaseError):
            await save(here, session)
    await here.flush()
    assert (await elsewhere.resume(session.token, CIRI)).positions == POSITIONS


async def test_nothing_is_lost_with_who_stops_waiting_for_a_write(
    here: Sessions, elsewhere: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, staying = await here.resume(None, CIRI), await here.resume(None, CIRI)
    staying.positions.update(POSITIONS)
    here.touch(staying)
    slow = asyncio.Event()

    async def in_slow_thread(store: Callable[..., None], *args: Any) -> None:
        await slow.wait()
        await in_thread(store, *args)

    with monkeypatch.context() as busy:
        busy.setattr(sessions, "in_thread", in_slow_thread)
        writing = asyncio.ensure_future(save(here, leaving))
        await asyncio.sleep(0)
        saving = asyncio.ensure_future(here.save())
        await asyncio.sleep(0)
        writing.cancel()
        slow.set()
        await saving
    assert (await elsewhere.resume(staying.token, CIRI)).positions == POSITIONS
