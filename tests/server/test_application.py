"""What stands in front of Django: body limits, and where requests go."""

from unittest import mock

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.db import OperationalError

from channels_app.core import directory, hub, publishing
from channels_app.server import application
from channels_app.server.application import build

PUBLISH = "/v1.1/instances/rivia/channels/lobby/publish/"
TOO_LARGE = {"detail": "Request size limit exceeded (65536)."}


@pytest.fixture
async def client():
    application = build(get_asgi_application())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://testserver") as client:
        yield client


async def test_a_body_that_announces_too_much_is_refused_before_it_is_read():
    async def never() -> dict:
        raise AssertionError("the body was asked for")

    sent = []

    async def send(event) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PUBLISH,
        "query_string": b"",
        "headers": [(b"content-length", b"65537"), (b"origin", b"https://example.com")],
    }
    await build(get_asgi_application())(scope, never, send)
    assert sent[0]["status"] == 413
    assert (b"access-control-allow-origin", b"*") in sent[0]["headers"]
    assert sent[1]["body"] == b'{"detail":"Request size limit exceeded (65536)."}'


async def test_a_body_without_a_length_is_refused_where_it_gets_too_long(client):
    async def chunks():
        for _ in range(100):
            yield b"x" * 1024

    answer = await client.post(PUBLISH, content=chunks())
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


async def test_the_body_of_a_poll_is_not_read_however_long_it_is(client, transactional_db):
    async def chunks():
        for _ in range(100):
            yield b"x" * 1024

    answer = await client.request("GET", "/v1.1/instances/rivia/channels/lobby/poll/", content=chunks())
    assert answer.status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://example.com"}], ids=["same origin", "other origin"])
async def test_other_origins_may_read_the_same_of_every_answer_whoever_gives_it(client, transactional_db, headers):
    def told(answer):
        names = ("Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
        return answer.status_code, [answer.headers.get(name) for name in names]

    channel = "/v1.1/instances/rivia/channels/lobby"
    status, expected = told(await client.get(f"{channel}/history/", headers=headers))  # Django's
    assert status == 404
    assert told(await client.get(f"{channel}/poll/", headers=headers)) == (404, expected)
    assert told(await client.post(PUBLISH, content=b"x" * 65_537, headers=headers)) == (413, expected)
    assert told(await client.post("/v1/Services", content=b"x" * 140_000, headers=headers)) == (413, expected)


async def test_pages_have_no_such_limit(client, db):
    answer = await client.post("/admin/login/", content=b"x" * 70_000)
    assert answer.status_code == 403, "Django's own answer to a form without its token"


@pytest.mark.parametrize("path", ["/v1.1/nothing/", "/v1.1/instances/rivia/channels/lobby/poll"])
async def test_an_unknown_path_is_a_404_and_no_redirect(client, path):
    assert (await client.get(path)).status_code == 404


async def test_a_server_whose_database_is_away_ends_as_it_should(monkeypatch):
    def away():
        raise OperationalError

    closed, sent = mock.Mock(), []
    monkeypatch.setattr(directory, "write_last_used", away)
    monkeypatch.setattr(publishing, "close_lanes", closed)
    monkeypatch.setattr(application, "_tune_garbage_collection", lambda: None)
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(events)

    async def send(event):
        sent.append(event["type"])

    await build(get_asgi_application())({"type": "lifespan"}, receive, send)
    await hub.current().close()
    closed.assert_called_once()
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
