"""Live delivery, under both servers: long poll, WebSocket and Server-Sent Events (wire/syncano.md §10, §12)."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from tests.backends import Backend

from .deployment import Deployment, Server, Template, channel_path

PERM = {"detail": "You do not have permission to perform this action."}
NOKEY = {"detail": "No such API Key."}
ROOM = {"room": "This field is required for channels with separate rooms."}
QUICK = {
    "PUBSUB_POLL_WAIT": "2",
    "PUBSUB_SSE_HEARTBEAT": "0.2",
    "PUBSUB_ANONYMOUS_RATE": "",
    "PUBSUB_FAILED_POLL_RATE": "",
}


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(request, template: Template, tmp_path_factory) -> Iterator[Server]:
    deployment: Deployment = template.deploy(tmp_path_factory.mktemp("live"))
    server = deployment.start(request.param, **QUICK)
    server.kind = request.param
    yield server
    server.kill()
    assert "Traceback" not in server.log()


class Lobby:
    """One channel on the server, and ways to publish to it and to listen."""

    def __init__(self, server: Server, credentials: dict[str, str], name: str, **fields: object) -> None:
        self.server = server
        self.key = credentials["api_key"]
        self.path = channel_path(credentials["instance"], name)
        self.poll_path = f"{self.path}poll/"
        self.client = server.client(self.key)
        channels = f"/v1.1/instances/{credentials['instance']}/channels/"
        answer = self.client.post(channels, json={"name": name, "custom_publish": True, **fields})
        assert answer.status_code == 201, answer.text

    def publish(self, number: int = 0, room: str | None = None) -> dict:
        body = {"payload": {"number": number}} | ({"room": room} if room else {})
        answer = self.client.post(f"{self.path}publish/", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def poll(self, **query: object) -> httpx.Response:
        return self.client.get(self.poll_path, params=query)

    def websocket(self, query: str = "", key: str | None = None) -> websockets.sync.client.ClientConnection:
        url = (
            f"{self.server.url.replace('http', 'ws', 1)}{self.poll_path}?transport=websocket&api_key={key or self.key}&{query}"
        )
        return websockets.sync.client.connect(url)

    def listening(self) -> None:
        """Give the long polls a moment to arrive: nothing tells a client that its poll is waiting."""
        time.sleep(0.3)


_names = iter(f"lobby{n}" for n in range(10_000))


@pytest.fixture
def lobby(server, credentials) -> Lobby:
    return Lobby(server, credentials, next(_names))


@pytest.fixture
def halls(server, credentials) -> Lobby:
    return Lobby(server, credentials, next(_names), type="separate_rooms")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as pool:
        yield pool


def frames(socket, count: int) -> list[dict]:
    return [json.loads(socket.recv(timeout=10)) for _ in range(count)]


def ids(socket, count: int) -> list[int]:
    return [frame["id"] for frame in frames(socket, count)]


# Long poll


def test_poll_01_02_it_hangs_and_then_answers_the_published_message(lobby, pool):
    waiting = pool.submit(lobby.poll)
    lobby.listening()
    assert not waiting.done()
    published = lobby.publish(7)
    answer = waiting.result(10)
    assert answer.status_code == 200
    assert list(answer.json()) == ["id", "created_at", "action", "author", "metadata", "payload"]
    assert answer.json() == {name: value for name, value in published.items() if name not in ("room", "links")}
    assert answer.headers["X-Last-Id"] == "1"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_poll_03_last_id_gives_the_oldest_newer_message_at_once(lobby, pool):
    for number in range(3):
        lobby.publish(number)
    for last_id, given in ((0, 1), (1, 2), (2, 3)):
        answer = lobby.poll(last_id=last_id)
        assert answer.json()["id"] == given
        assert "X-Last-Id" not in answer.headers
    waiting = pool.submit(lobby.poll, last_id=3)
    lobby.listening()
    lobby.publish()
    assert waiting.result(10).json()["id"] == 4


@pytest.mark.parametrize("query", [{}, {"last_id": "", "room": ""}, {"last_id": "-5"}, {"last_id": "1000000000"}])
def test_poll_04_05_nothing_old_is_replayed_without_a_last_id_that_means_something(lobby, pool, query):
    lobby.publish()
    waiting = pool.submit(lobby.poll, **query)
    lobby.listening()
    lobby.publish()
    assert waiting.result(10).json()["id"] == 2


def test_poll_06_wrong_parameters_are_told(lobby, halls):
    answer = lobby.poll(last_id="abc")
    assert (answer.status_code, answer.json()) == (400, {"last_id": ["A valid integer is required."]})
    answer = halls.poll(room="x" * 129)
    assert (answer.status_code, answer.json()) == (400, {"room": ["Ensure this field has no more than 128 characters."]})


def test_poll_07_a_default_channel_ignores_the_room(lobby):
    lobby.publish()
    assert lobby.poll(last_id=0, room="anything").json()["id"] == 1


def test_poll_08_separate_rooms_need_one_and_hear_only_it(halls):
    for query in ({}, {"room": ""}):
        assert (halls.poll(**query).status_code, halls.poll(**query).json()) == (400, ROOM)
    halls.publish(room="other")
    halls.publish(room="mine")
    assert halls.poll(room="mine", last_id=0).json()["id"] == 2


@pytest.mark.parametrize(("listened", "published"), [("MINE", "mine"), ("mine", " Mine ")])
def test_poll_09_10_rooms_are_heard_in_any_case(halls, pool, listened, published):
    waiting = pool.submit(halls.poll, room=listened)
    halls.listening()
    assert halls.publish(room=published)["room"] == "mine"
    assert waiting.result(10).json()["id"] == 1


def test_poll_11_every_poller_gets_it(lobby, pool):
    waiting = [pool.submit(lobby.poll) for _ in range(3)]
    lobby.listening()
    lobby.publish()
    assert [each.result(10).json()["id"] for each in waiting] == [1, 1, 1]


def test_poll_12_a_burst_is_heard_in_exact_sequence(lobby):
    publishing = threading.Thread(target=lambda: [lobby.publish(number) for number in range(20)])
    publishing.start()
    heard, last_id = [], 0
    with lobby.server.client(lobby.key) as client:
        while len(heard) < 20:
            message = client.get(lobby.poll_path, params={"last_id": last_id}).json()
            last_id = message["id"]
            heard.append((last_id, message["payload"]["number"]))
    publishing.join()
    assert heard == [(number + 1, number) for number in range(20)]


def test_poll_13_errors(lobby, server):
    with httpx.Client(base_url=server.url) as nobody:
        answer = nobody.get(lobby.poll_path)
        assert (answer.status_code, answer.json()) == (403, PERM)
        answer = nobody.get(lobby.poll_path, headers={"X-API-KEY": "0" * 39 + "1"})
        assert (answer.status_code, answer.json()) == (403, NOKEY)
    answer = lobby.client.get(lobby.poll_path.replace("lobby", "nowhere"))
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    answer = lobby.client.get("/v1.1/instances/nowhere-at-all/channels/x/poll/")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Instance was not found."})
    answer = lobby.client.post(lobby.poll_path, json={})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_poll_14_nothing_within_the_wait_is_a_204(lobby):
    answer = lobby.poll()
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-cache"


def test_poll_15_a_client_that_hangs_up_is_no_harm(lobby):
    with pytest.raises(httpx.ReadTimeout):
        lobby.client.get(lobby.poll_path, timeout=0.3)
    lobby.publish()
    assert lobby.poll(last_id=0).json()["id"] == 1


def test_a_poll_with_a_body_is_answered_and_the_body_unread(lobby):
    lobby.publish()
    answer = lobby.client.request("GET", lobby.poll_path, params={"last_id": 0}, content=b"{broken")
    assert answer.json()["id"] == 1


def test_a_poll_from_a_browser_gets_its_cors_headers(lobby):
    lobby.publish()
    for headers, path in (({}, lobby.poll_path), ({"X-API-KEY": "x"}, lobby.poll_path)):
        answer = lobby.client.get(path, params={"last_id": 0}, headers={"Origin": "https://example.com", **headers})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "x-gap" in answer.headers["Access-Control-Expose-Headers"]


def test_a_key_revoked_while_it_polls_is_told(server, credentials, pool):
    admin = server.client(credentials["account_key"])
    keys = f"/v1.1/instances/{credentials['instance']}/api_keys/"
    key = admin.post(keys, json={"ignore_acl": True}).json()
    lobby = Lobby(server, credentials | {"api_key": key["api_key"]}, next(_names))
    waiting = pool.submit(lobby.poll)
    lobby.listening()
    assert admin.delete(key["links"]["self"]).status_code == 204
    assert waiting.result(10).status_code == 403


# WebSocket


def test_ws_01_frames_come_in_order_on_one_socket(lobby):
    with lobby.websocket() as socket:
        published = [lobby.publish(number) for number in range(5)]
        received = frames(socket, 5)
    assert [frame["id"] for frame in received] == [1, 2, 3, 4, 5]
    assert list(received[0]) == ["id", "created_at", "action", "author", "metadata", "payload"]
    assert received[0]["payload"] == published[0]["payload"]


def test_ws_02_what_was_missed_comes_first_and_then_live(lobby):
    for _ in range(3):
        lobby.publish()
    with lobby.websocket("last_id=1") as socket:
        assert ids(socket, 2) == [2, 3]
        lobby.publish()
        assert ids(socket, 1) == [4]


def test_ws_03_a_socket_hears_its_room_only(halls):
    with halls.websocket("room=MINE") as socket:
        halls.publish(room="other")
        halls.publish(room="Mine")
        assert ids(socket, 1) == [2]


def test_ws_04_05_refusals_come_before_the_handshake(lobby, halls, credentials):
    url = lobby.server.url.replace("http", "ws", 1)
    refused = {
        f"{url}{lobby.poll_path}?transport=websocket": 403,
        f"{url}{lobby.poll_path}?transport=websocket&api_key={'0' * 39}1": 403,
        f"{url}{lobby.poll_path.replace('lobby', 'nowhere')}?transport=websocket&api_key={lobby.key}": 404,
        f"{url}{halls.poll_path}?transport=websocket&api_key={lobby.key}": 400,
        f"{url}{lobby.poll_path}?transport=websocket&last_id=abc&api_key={lobby.key}": 400,
        f"{url}/elsewhere/": 404,
    }
    for address, status in refused.items():
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            websockets.sync.client.connect(address)
        # Daphne cannot answer a handshake with anything but a bare 403.
        assert caught.value.response.status_code == (status if lobby.server.kind == "uvicorn" else 403)
        if lobby.server.kind == "uvicorn":
            assert json.loads(caught.value.response.body)


def test_ws_06_the_transport_without_a_handshake_is_a_400(lobby):
    answer = lobby.poll(transport="websocket")
    assert (answer.status_code, answer.json()) == (400, {"detail": "Expected WebSocket connection."})


def test_ws_07_client_frames_are_ignored_and_poll_and_socket_both_hear(lobby, pool):
    with lobby.websocket() as socket:
        socket.send("hello")
        socket.send(b"\x00\xff")
        waiting = pool.submit(lobby.poll)
        lobby.listening()
        lobby.publish()
        assert ids(socket, 1) == [1]
        assert waiting.result(10).json()["id"] == 1


def test_a_socket_that_asks_is_told_how_its_resume_went(lobby):
    for _ in range(2):
        lobby.publish()
    with lobby.websocket("hello=1&last_id=1") as socket:
        hello, message = frames(socket, 2)
    assert hello["hello"] | {"epoch": ""} == {
        "channel": lobby.path.split("/")[-2],
        "room": None,
        "epoch": "",
        "last_id": 1,
        "recovery": "complete",
    }
    assert message["id"] == 2
    with lobby.websocket(f"hello=1&last_id=1&epoch={hello['hello']['epoch']}") as socket:
        assert frames(socket, 1)[0]["hello"]["recovery"] == "complete"
    with lobby.websocket("hello=1&last_id=1&epoch=another") as socket:
        hello, gap, *messages = frames(socket, 4)
    assert hello["hello"]["recovery"] == "other_epoch"
    assert gap == {"gap": {"from": 0, "to": 0, "reason": "epoch"}}
    assert [message["id"] for message in messages] == [1, 2]


def closed_with(socket) -> int:
    with pytest.raises(websockets.exceptions.ConnectionClosed) as caught:
        socket.recv(timeout=10)
    return caught.value.rcvd.code


def test_a_revoked_key_closes_its_sockets_and_leaves_the_others(server, credentials):
    admin = server.client(credentials["account_key"])
    keys = f"/v1.1/instances/{credentials['instance']}/api_keys/"
    key = admin.post(keys, json={"ignore_acl": True}).json()
    lobby = Lobby(server, credentials, next(_names))
    with lobby.websocket(key=key["api_key"]) as gone, lobby.websocket() as kept:
        assert admin.delete(key["links"]["self"]).status_code == 204
        assert closed_with(gone) == 4003
        lobby.publish()
        assert ids(kept, 1) == [1]


def test_a_deleted_channel_closes_its_sockets(lobby):
    with lobby.websocket() as socket:
        assert lobby.client.delete(lobby.path).status_code == 204
        assert closed_with(socket) == 4004


HUGE = "9" * 5_000  # more digits than Python reads as a number


def test_a_socket_with_an_absurd_last_id_waits_for_what_comes(lobby):
    lobby.publish()
    with lobby.websocket(f"last_id={HUGE}") as socket:
        lobby.publish()
        assert ids(socket, 1) == [2]


# Server-Sent Events


class Events:
    """What an event stream brings, one line after the other."""

    def __init__(self, lobby: Lobby, **request: object) -> None:
        self._stream = lobby.client.stream("GET", lobby.poll_path, **request)
        self.response = self._stream.__enter__()
        self._lines = self.response.iter_lines()
        assert next(self._lines) == "retry: 1000"

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.__exit__(None, None, None)

    def lines(self, prefix: str, count: int) -> list[str]:
        found = []
        while len(found) < count:
            line = next(self._lines)
            if line.startswith(prefix):
                found.append(line.removeprefix(prefix))
        return found


@pytest.mark.parametrize(
    "request_", [{"headers": {"Accept": "text/event-stream"}}, {"params": {"transport": "sse"}}], ids=["accept", "query"]
)
def test_an_event_stream_carries_the_messages_with_their_ids(lobby, request_):
    with Events(lobby, **request_) as events:
        assert events.response.headers["Content-Type"] == "text/event-stream"
        published = lobby.publish(7)
        assert events.lines("id: ", 1) == ["1"]
        (data,) = events.lines("data: ", 1)
    assert json.loads(data) == {name: value for name, value in published.items() if name not in ("room", "links")}


def test_an_event_stream_resumes_after_the_last_event_id(lobby):
    for _ in range(4):
        lobby.publish()
    with Events(lobby, params={"transport": "sse", "last_id": 0}, headers={"Last-Event-ID": "2"}) as events:
        assert events.lines("id: ", 2) == ["3", "4"]
        lobby.publish()
        assert events.lines("id: ", 1) == ["5"]


def test_an_event_stream_with_an_absurd_last_event_id_waits_for_what_comes(lobby):
    lobby.publish()
    with Events(lobby, params={"transport": "sse"}, headers={"Last-Event-ID": HUGE}) as events:
        lobby.publish()
        assert events.lines("id: ", 1) == ["2"]


def test_a_silent_event_stream_is_kept_alive_by_comments(lobby):
    with Events(lobby, params={"transport": "sse"}) as events:
        assert len(events.lines(":", 2)) == 2
        lobby.publish()
        assert events.lines("id: ", 1) == ["1"], "a comment costs no message"


def test_an_event_stream_ends_with_the_reason(lobby):
    with Events(lobby, params={"transport": "sse"}) as events:
        assert lobby.client.delete(lobby.path).status_code == 204
        assert events.lines("event: ", 1) == ["closed"]
        assert json.loads(events.lines("data: ", 1)[0])["code"] == 4004


def test_what_is_gone_is_told_as_a_gap(server, credentials, template, tmp_path, backend: Backend):
    """On every transport that has a word for it; a Syncano socket that did not ask goes on with what is left."""
    deployment = template.deploy(tmp_path)
    trimmed = deployment.start(server.kind, **QUICK, PUBSUB_RETENTION_COUNT="2", PUBSUB_RETENTION_INTERVAL="0.1")
    lobby = Lobby(trimmed, credentials, "trimmed")
    for _ in range(5):
        lobby.publish()
    deadline = time.monotonic() + 20
    while lobby.poll(last_id=0).json()["id"] != 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lobby.poll(last_id=1).headers["X-Gap"] == "trimmed 2-3"
    with Events(lobby, params={"transport": "sse", "last_id": 1}) as events:
        assert events.lines("event: ", 1) == ["gap"]
        assert json.loads(events.lines("data: ", 1)[0]) == {"from": 2, "to": 3, "reason": "trimmed"}
        assert events.lines("id: ", 2) == ["4", "5"]
    with lobby.websocket("hello=1&last_id=1") as socket:
        hello, gap, message = frames(socket, 3)
        assert hello["hello"]["recovery"] == "truncated"
        assert gap == {"gap": {"from": 2, "to": 3, "reason": "trimmed"}}
        assert message["id"] == 4
    with lobby.websocket("last_id=1") as socket:
        assert ids(socket, 2) == [4, 5]
    trimmed.kill()
