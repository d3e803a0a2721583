"""What is asked about the process itself: is it alive, should it get requests, what has it counted (server/health.py)."""

import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio
from django.db import OperationalError
from django.test import override_settings

from channels_app.core import hub, notifier
from channels_app.server import health
from channels_app.server.health import DRAINING, NO_CHANNEL_LAYER, NO_DATABASE, NOT_MIGRATED, Health, nothing_else

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = {"METRICS_TOKEN": "a-token"}
Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def connect() -> Connect:
    """A client at some address, of a process that answers nothing but what this module is about."""

    def make(address: str = "192.0.2.7", *, is_private: bool = False) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(Health(nothing_else, is_private=is_private), client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url="http://of-no-allowed-name")

    return make


@pytest.fixture
def client(connect: Connect) -> httpx.AsyncClient:
    return connect()


@pytest_asyncio.fixture(autouse=True)
async def _hub_that_ends_with_the_test() -> AsyncIterator[None]:
    yield
    await hub.current().close()


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


async def test_a_process_that_can_serve_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "alive"}
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_database_that_fails_is_a_503_that_keeps_its_error_to_itself(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ping", failing(OperationalError("password authentication failed for user at 10.0.0.1")))
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "reasons": [NO_DATABASE]})
    assert (await client.get("/livez")).status_code == 200
    monkeypatch.undo()
    assert (await client.get("/readyz")).status_code == 200


async def test_a_database_that_hangs_is_given_up_on_and_asked_by_one_thread_at_a_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, asked = threading.Event(), []

    def hang() -> None:
        asked.append(threading.get_ident())
        back.wait(30)

    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(health, "ping", hang)
    try:
        for _ in range(3):
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, [NO_DATABASE])
        assert len(asked) == 1
    finally:
        back.set()


async def test_missing_migrations_are_looked_for_until_there_are_none(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([2, 0])  # a third look would be an error
    monkeypatch.setattr(health, "missing_migrations", lambda: next(found))
    assert (await client.get("/readyz")).json() == {"status": "unavailable", "reasons": [NOT_MIGRATED]}
    for _ in range(2):
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_without_the_channel_layer_it_is_degraded_and_gets_requests(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "check", failing(ConnectionError("redis://:secret@10.0.0.1")))
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "reasons": [NO_CHANNEL_LAYER]})


async def test_a_change_is_logged_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifier, "check", failing(ConnectionError()))
    for _ in range(2):
        await client.get("/readyz")
    monkeypatch.undo()
    for _ in range(2):
        await client.get("/readyz")
    told = [record.getMessage() for record in caplog.records if record.name == health.__name__]
    assert told == [f"Readiness: {NO_CHANNEL_LAYER}", "Readiness: everything is back"]


async def test_a_process_that_drains_is_alive_and_wants_no_requests(client: httpx.AsyncClient) -> None:
    hub.announce_leaving()
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, [DRAINING])
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_they_are_only_read(client: httpx.AsyncClient, path: str) -> None:
    refused = await client.post(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_what_lies_beside_is_somebody_elses(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez/")).status_code == 404


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403), ("", 403)])
async def test_without_a_token_metrics_are_for_this_machine(connect: Connect, address: str, status: int) -> None:
    answer = await connect(address).get("/metrics")
    assert answer.status_code == status
    assert ("pubsub_subscribers" in answer.text) is (status == 200)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_a_proxy_on_this_machine_does_not_show_them_to_the_world(connect: Connect, header: str) -> None:
    assert (await connect("127.0.0.1").get("/metrics", headers={header: "192.0.2.7"})).status_code == 403


@pytest.mark.parametrize(
    ("given", "status"),
    [("Bearer a-token", 200), ("bearer a-token", 200), ("Bearer another", 401), ("Bearer ä", 401), ("a-token", 401), ("", 401)],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
async def test_with_a_token_metrics_are_for_who_brings_it(connect: Connect, address: str, given: str, status: int) -> None:
    with override_settings(PUBSUB=TOKEN):
        answer = await connect(address).get("/metrics", headers={"Authorization": given.encode("latin-1")})
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) is (status == 401)


async def test_at_an_address_of_their_own_metrics_need_no_token_unless_there_is_one(connect: Connect) -> None:
    client = connect("192.0.2.7", is_private=True)
    assert (await client.get("/metrics")).status_code == 200
    with override_settings(PUBSUB=TOKEN):
        assert (await client.get("/metrics")).status_code == 401
