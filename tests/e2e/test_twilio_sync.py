"""Twilio's realtime SDK (npm `twilio-sync` 4.x), unmodified, against the real server (wire/twilio.md §8)."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import SyncGrant

from tests.backends import Backend

from .deployment import Deployment, Server, Template, channel_path
from .sync_service import SyncService
from .twilio_driver import Driver, SdkError

_names = (f"stream-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.end()


@pytest.fixture(scope="module")
def shared_server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that leave it as it is."""
    server = template.deploy(tmp_path_factory.mktemp("twilio-sync")).start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


class Sync:
    """A service on a server, with REST and with as many SDK clients as a test wants."""

    def __init__(self, server: Server, driver: Driver, credentials: dict[str, Any]) -> None:
        self.server, self.driver = server, driver
        self.service = SyncService(server, credentials)
        self.uri = f"{server.url.replace('http', 'ws', 1)}/v3/wsconnect"
        self.clients: list[str] = []

    def token(self, identity: str, ttl: int = 3600) -> str:
        """As an app's backend makes it, with the unmodified Python helper."""
        given = self.service.credentials
        token = AccessToken(given["account_sid"], given["api_key_sid"], given["api_key_secret"], identity=identity, ttl=ttl)
        token.add_grant(SyncGrant(service_sid=self.service.sid))
        return token.to_jwt()

    def connect(self, token: str | None = None) -> str:
        """A new client's name."""
        name = f"client-{next(_names)}"
        self.clients.append(name)
        self.driver.call("connect", client=name, token=token or self.token("ciri"), uri=self.uri)
        return name

    def listen(self, client: str, stream: str) -> dict[str, Any]:
        """Open the stream, or create it, and return it once nothing of it can be missed."""
        opened: dict[str, Any] = self.driver.call("stream", client=client, stream=stream)
        self.wait_for_subscription(client, stream)
        return opened

    def wait_for_subscription(self, client: str, stream: str, count: int = 1) -> None:
        def established() -> int:
            return self.driver.told("_subscriptionStateChanged", client=client, stream=stream).count(["established"])

        self.driver.until(lambda: established() >= count)

    def publish(self, stream: str, number: int) -> str:
        """Over REST; the message's SID."""
        answer = self.service.publish(stream, f'{{"number":{number}}}')
        assert answer.status_code == 201, answer.text
        sid: str = answer.json()["sid"]
        return sid

    def rest(self, stream: str) -> httpx.Response:
        """The stream as REST has it."""
        return self.service.client.get(f"{self.service.path}/Streams/{stream}")

    def messages(self, client: str, stream: str, count: int) -> list[dict[str, Any]]:
        return [args[0]["message"] for args in self.driver.wait("messagePublished", count, client=client, stream=stream)]

    def sids(self, client: str, stream: str) -> list[str]:
        return [message["sid"] for message in self.messages(client, stream, 0)]

    def numbers(self, client: str, stream: str, count: int) -> list[int]:
        return [message["data"]["number"] for message in self.messages(client, stream, count)]

    def states(self, client: str) -> list[str]:
        return [args[0] for args in self.driver.told("connectionStateChanged", client=client)]

    def wait_for_state(self, client: str, state: str, count: int = 1) -> None:
        self.driver.until(lambda: self.states(client).count(state) >= count)

    def end(self) -> None:
        for client in self.clients:
            self.driver.call("shutdown", client=client)


@pytest.fixture
def sync(shared_server: Server, driver: Driver, credentials: dict[str, Any]) -> Iterator[Sync]:
    sync = Sync(shared_server, driver, credentials)
    yield sync
    sync.end()


@pytest.fixture
def stream() -> str:
    return next(_names)


# Streams


def test_a_stream_is_created_at_first_and_opened_later(sync: Sync, stream: str) -> None:
    created = sync.listen(sync.connect(), stream)
    assert created == {"sid": created["sid"], "uniqueName": stream, "dateExpires": None}
    assert sync.driver.call("stream", client=sync.connect(sync.token("emhyr")), stream=stream) == created
    assert sync.rest(stream).json()["created_by"] == "ciri"


def test_two_clients_that_create_the_same_stream_at_once_get_one(sync: Sync, stream: str) -> None:
    clients = [sync.connect() for _ in range(4)]
    opening = [sync.driver.begin("stream", client=client, stream=stream) for client in clients]
    assert len({sync.driver.answer(each)["sid"] for each in opening}) == 1


def test_a_stream_made_elsewhere_is_opened_by_its_name(sync: Sync, credentials: dict[str, str], stream: str) -> None:
    sync.server.client(credentials["api_key"]).post(
        f"/v1.1/instances/{credentials['instance']}/channels/", json={"name": stream, "custom_publish": True}
    ).raise_for_status()
    assert sync.driver.call("stream", client=sync.connect(), stream=stream)["uniqueName"] == stream


def test_a_time_to_live_is_set_and_changed(sync: Sync, stream: str) -> None:
    client = sync.connect()
    made = sync.driver.call("stream", client=client, stream=stream, options={"id": stream, "ttl": 3600})
    assert made["dateExpires"].endswith("Z")
    assert sync.driver.call("ttl", client=client, stream=stream, ttl=0)["dateExpires"] is None
    assert sync.rest(stream).json()["date_expires"] is None


def test_a_name_with_any_characters_is_opened(sync: Sync) -> None:
    name = f"żółć / {next(_names)} ? %2F"
    assert sync.driver.call("stream", client=sync.connect(), stream=name)["uniqueName"] == name


# Messages


def test_what_rest_publishes_reaches_every_client_once_and_in_order(sync: Sync, stream: str) -> None:
    clients = [sync.connect(), sync.connect(sync.token("emhyr"))]
    for client in clients:
        sync.listen(client, stream)
    sids = [sync.publish(stream, number) for number in range(10)]
    for client in clients:
        assert sync.messages(client, stream, 10) == [{"sid": sid, "data": {"number": n}} for n, sid in enumerate(sids)]


def test_what_another_dialect_publishes_arrives_too(sync: Sync, credentials: dict[str, str], stream: str) -> None:
    client = sync.connect()
    sync.listen(client, stream)
    path = channel_path(credentials["instance"], stream)
    answer = sync.server.client(credentials["api_key"]).post(f"{path}publish/", json={"payload": {"text": "żółć ☃"}})
    assert answer.status_code == 201, answer.text
    assert sync.messages(client, stream, 1)[0]["data"] == {"text": "żółć ☃"}


def test_what_a_client_publishes_the_others_see_and_itself_once(sync: Sync, credentials: dict[str, str], stream: str) -> None:
    publisher, listener = sync.connect(), sync.connect()
    for client in (publisher, listener):
        sync.listen(client, stream)
    sids = [sync.driver.call("publish", client=publisher, stream=stream, data={"number": n}) for n in range(3)]
    sync.publish(stream, 3)  # when it has arrived, so has all before it
    assert sync.numbers(publisher, stream, 4) == sync.numbers(listener, stream, 4) == [0, 1, 2, 3]
    assert [each["sid"] for each in sync.messages(listener, stream, 4)][:3] == sids
    is_local = [args[0]["isLocal"] for args in sync.driver.told("messagePublished", client=publisher, stream=stream)]
    assert is_local == [True, True, True, False]
    history = sync.server.client(credentials["api_key"]).get(f"{channel_path(credentials['instance'], stream)}history/")
    assert history.json()["objects"][-1]["author"]["identity"] == "ciri"


def test_a_message_that_is_too_large_is_refused_with_the_reason(sync: Sync, stream: str) -> None:
    client = sync.connect()
    sync.listen(client, stream)
    with pytest.raises(SdkError) as refused:
        sync.driver.call("publish", client=client, stream=stream, data={"text": "x" * 4096})
    assert (refused.value.status, refused.value.code) == (413, 54006)


def test_a_stream_that_is_removed_ends_for_everybody(sync: Sync, stream: str) -> None:
    remover, other = sync.connect(), sync.connect()
    for client in (remover, other):
        sync.listen(client, stream)
    sync.driver.call("remove", client=remover, stream=stream)
    assert sync.driver.wait("removed", client=other, stream=stream) == [[{"isLocal": False}]]
    assert sync.driver.wait("removed", client=remover, stream=stream) == [[{"isLocal": True}]]
    assert sync.rest(stream).status_code == 404


def test_what_is_not_served_says_so(sync: Sync) -> None:
    client = sync.connect()
    for kind in ("document", "list", "map"):
        with pytest.raises(SdkError, match="not served here"):
            sync.driver.call("open", client=client, kind=kind, name="anything")


def test_it_is_served_under_daphne_too(template: Template, tmp_path: Path, driver: Driver, stream: str) -> None:
    server = template.deploy(tmp_path).start("daphne")
    sync = Sync(server, driver, template.credentials)
    client = sync.connect()
    sync.listen(client, stream)
    sync.driver.call("publish", client=client, stream=stream, data={"number": 0})
    sync.publish(stream, 1)
    assert sync.numbers(client, stream, 2) == [0, 1]
    sync.end()
    server.kill()
    assert "Traceback" not in server.log()


# Tokens


def test_a_token_of_the_node_helper_is_as_good(sync: Sync, stream: str) -> None:
    token = sync.driver.call("token", **sync.service.credentials, identity="ciri", ttl=600)
    sync.listen(sync.connect(token), stream)


def test_a_bad_token_is_denied(sync: Sync) -> None:
    client = sync.connect(sync.token("ciri")[:-4] + "AAAA")
    sync.wait_for_state(client, "denied")
    (error,) = sync.driver.wait("connectionError", client=client)
    assert error[0] == {
        "terminal": True,
        "message": "Connection error: Invalid Access Token signature",
        "httpStatusCode": 401,
        "errorCode": 20107,
    }


def test_an_expired_token_is_denied_and_the_app_told(sync: Sync) -> None:
    client = sync.connect(sync.token("ciri", ttl=-60))
    sync.wait_for_state(client, "denied")
    sync.driver.wait("tokenExpired", client=client)
    sync.driver.call("update", client=client, token=sync.token("ciri"))
    sync.wait_for_state(client, "connected")


def test_a_token_is_renewed_while_connected_or_ends_the_connection(sync: Sync, stream: str) -> None:
    renewing, sleeping = sync.connect(sync.token("ciri", ttl=2)), sync.connect(sync.token("ciri", ttl=2))
    sync.listen(renewing, stream)
    sync.driver.wait("tokenAboutToExpire", client=renewing)
    sync.driver.call("update", client=renewing, token=sync.token("ciri"))
    sync.driver.wait("tokenExpired", client=sleeping)
    assert sync.states(renewing) == ["connecting", "connected"]
    sync.publish(stream, 1)
    assert sync.numbers(renewing, stream, 1) == [1]


def test_a_token_of_somebody_else_does_not_renew(sync: Sync) -> None:
    client = sync.connect()
    sync.wait_for_state(client, "connected")
    with pytest.raises(SdkError, match="Updated token was rejected by server"):
        sync.driver.call("update", client=client, token=sync.token("emhyr"))


# Coming back


def publish_while_sockets_drop(sync: Sync, stream: str) -> None:
    """Nothing is lost or repeated by a client whose connection breaks again and again, beside one that stays."""
    client, steady = sync.connect(), sync.connect()
    for each in (client, steady):
        sync.listen(each, stream)
    for number in range(24):
        sync.publish(stream, number)
        if number % 5 == 2:
            sync.numbers(client, stream, number - 1)
            sync.driver.call("drop", client=client)
    assert sync.numbers(client, stream, 24) == sync.numbers(steady, stream, 24) == list(range(24))


def test_nothing_is_lost_or_repeated_when_sockets_drop(sync: Sync, stream: str) -> None:
    publish_while_sockets_drop(sync, stream)


def test_nor_when_the_client_comes_back_to_another_process(
    backend: Backend, deployment: Deployment, driver: Driver, credentials: dict[str, Any], stream: str
) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")
    sync = Sync(deployment.start("uvicorn", "--workers", "2"), driver, credentials)
    publish_while_sockets_drop(sync, stream)
    sync.end()


@pytest.fixture
def restarting(deployment: Deployment, driver: Driver, credentials: dict[str, Any]) -> Iterator[Sync]:
    """On a server of its own, which the test may end and start again."""
    sync = Sync(deployment.start(PUBSUB_DRAIN_SECONDS="0.5", PUBSUB_TWILIO_STREAM_RATE="0"), driver, credentials)
    yield sync
    sync.end()


class Publisher(threading.Thread):
    """Publishes until it is told to stop, and for a moment longer, whether or not there is a server."""

    def __init__(self, sync: Sync, stream: str) -> None:
        super().__init__()
        self.sids: list[str] = []  # of the messages that were acknowledged
        self._sync, self._stream = sync, stream
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            with contextlib.suppress(httpx.TransportError, AssertionError):
                self.sids.append(self._sync.publish(self._stream, 0))

    def stop(self) -> list[str]:
        self._stopping.set()
        self.join()
        return [*self.sids, *(self._sync.publish(self._stream, 0) for _ in range(5))]


@pytest.mark.parametrize("how", ["killed", "drained"])
def test_nothing_is_lost_when_the_server_restarts(restarting: Sync, stream: str, how: str) -> None:
    client = restarting.connect()
    restarting.listen(client, stream)
    publisher = Publisher(restarting, stream)
    publisher.start()
    restarting.messages(client, stream, 20)
    if how == "killed":
        restarting.server.kill()
    else:
        restarting.server.terminate()
    restarting.server.start()
    published = publisher.stop()
    restarting.driver.until(lambda: published[-1] in restarting.sids(client, stream))
    seen = restarting.sids(client, stream)
    assert [sid for sid in dict.fromkeys(seen) if sid in published] == published, "each, in order"
    if how == "drained":
        assert len(seen) == len(set(seen)), "and once, since the server had time to hear what was acknowledged"


def test_a_revoked_key_ends_the_connections_that_it_opened(restarting: Sync, deployment: Deployment, stream: str) -> None:
    client = restarting.connect()
    restarting.listen(client, stream)
    revoke = "from channels_app.models import AdministratorKey; AdministratorKey.objects.get().delete()"
    assert deployment.manage("shell", "-c", revoke).returncode == 0
    restarting.wait_for_state(client, "disconnecting")
    restarting.wait_for_state(restarting.connect(), "denied")
