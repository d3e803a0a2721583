"""An instance with its people, and clients that read like the wire: `manager.post("channels/", {"name": "lobby"})`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from channels_app.core import tenancy
from channels_app.core.credentials import unseal
from channels_app.models import Channel, Group, Instance, InstanceUser

PERM = {"detail": "You do not have permission to perform this action."}
NOKEY = {"detail": "No such API Key."}
NOT_FOUND = {"detail": "Not found."}
NO_INSTANCE = {"detail": "Instance was not found."}
NO_CHANNEL = {"detail": "Channel was not found."}
ROOM = {"room": "This field is required for channels with separate rooms."}
REQUIRED = ["This field is required."]
UNIQUE = ["This field must be unique."]
NO_BODY = object()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    raw: bytes

    @property
    def said(self) -> tuple[int, Any]:
        return self.status, self.body


@dataclass(frozen=True)
class Wire:
    """One client: its keys, and the path that its requests are relative to."""

    base: str = "/v1.1/"
    headers: Mapping[str, str] = ()  # type: ignore[assignment]

    def ask(
        self, method: str, path: str = "", body: Any = NO_BODY, *, type: str = "application/json", **headers: str
    ) -> Answer:
        """`body` is sent as it is when it is bytes, else as JSON; `X_API_KEY="…"` is the header X-API-KEY."""
        content = b"" if body is NO_BODY else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**dict(self.headers), **{name.replace("_", "-"): value for name, value in headers.items()}}
        response = Client().generic(method, self.base + path, content, content_type=type, headers=sent)
        is_json = response.content and response.headers["Content-Type"] == "application/json; charset=utf-8"
        return Answer(
            response.status_code, json.loads(response.content) if is_json else None, response.headers, response.content
        )

    def get(self, path: str = "", body: Any = NO_BODY, **options: str) -> Answer:
        return self.ask("GET", path, body, **options)

    def post(self, path: str = "", body: Any = NO_BODY, **options: str) -> Answer:
        return self.ask("POST", path, body, **options)

    def put(self, path: str = "", body: Any = NO_BODY, **options: str) -> Answer:
        return self.ask("PUT", path, body, **options)

    def patch(self, path: str = "", body: Any = NO_BODY, **options: str) -> Answer:
        return self.ask("PATCH", path, body, **options)

    def delete(self, path: str = "", body: Any = NO_BODY, **options: str) -> Answer:
        return self.ask("DELETE", path, body, **options)

    def at(self, base: str) -> "Wire":
        """The same client, elsewhere."""
        return Wire(base, self.headers)

    def publish(self, channel: str = "lobby", **payload: Any) -> int:
        """Publish to a default channel; the message's id."""
        answer = self.post(f"channels/{channel}/publish/", {"payload": payload})
        assert answer.status == 201, answer.said
        return int(answer.body["id"])

    def publish_to(self, room: str, channel: str = "rooms") -> int:
        answer = self.post(f"channels/{channel}/publish/", {"payload": {}, "room": room})
        assert answer.status == 201, answer.said
        return int(answer.body["id"])

    def ids(self, path: str) -> list[int]:
        """The ids of a page, in its order."""
        answer = self.get(path)
        assert answer.status == 200, answer.said
        return [each["id"] for each in answer.body["objects"]]

    def names(self, path: str) -> list[str]:
        answer = self.get(path)
        assert answer.status == 200, answer.said
        return [each["name"] for each in answer.body["objects"]]


def client(api_key: str = "", user_key: str = "", base: str = "/v1.1/instances/rivia/") -> Wire:
    keys = {"X-API-KEY": api_key, "X-USER-KEY": user_key}
    return Wire(base, {name: key for name, key in keys.items() if key})


def account_key(user: Any) -> str:
    return unseal(tenancy.administrator_of(user).key_sealed)


def user_key(user: InstanceUser) -> str:
    return unseal(user.key_sealed)


@pytest.fixture
def geralt() -> Any:
    """The owner of the instance."""
    return get_user_model().objects.create_user("geralt", "geralt@rivia.example", "roach")


@pytest.fixture
def rivia(geralt: Any) -> Instance:
    return tenancy.create_instance(owner=geralt, name="rivia")


@pytest.fixture
def other_instance() -> Instance:
    yennefer = get_user_model().objects.create_user("yennefer", "yennefer@vengerberg.example", "unicorn")
    return tenancy.create_instance(owner=yennefer, name="vengerberg")


@pytest.fixture
def manager(geralt: Any, rivia: Instance) -> Wire:
    """With the owner's account key."""
    return client(account_key(geralt))


@pytest.fixture
def keyless(rivia: Instance) -> Wire:
    return client()


@pytest.fixture
def api_key(rivia: Instance) -> str:
    """Without any flag."""
    return tenancy.create_api_key(rivia)[1].text


@pytest.fixture
def plain(api_key: str) -> Wire:
    """With an API key that has no flag, and no user."""
    return client(api_key)


@pytest.fixture
def ignore_acl(rivia: Instance) -> Wire:
    return client(tenancy.create_api_key(rivia, ignore_acl=True)[1].text)


@pytest.fixture
def anonymous_read(rivia: Instance) -> Wire:
    return client(tenancy.create_api_key(rivia, allow_anonymous_read=True)[1].text)


@pytest.fixture
def ciri(rivia: Instance) -> InstanceUser:
    return tenancy.create_user(rivia, username="ciri", password="zireael")


@pytest.fixture
def user(api_key: str, ciri: InstanceUser) -> Wire:
    """With the plain key and ciri's user key."""
    return client(api_key, user_key(ciri))


@pytest.fixture
def witchers(rivia: Instance) -> Group:
    return Group.objects.create(instance=rivia, label="witchers")


@pytest.fixture
def lobby(rivia: Instance) -> Channel:
    """A default channel that users may publish to."""
    return tenancy.create_channel(rivia, name="lobby", custom_publish=True, other_permissions="publish")


@pytest.fixture
def rooms(rivia: Instance) -> Channel:
    """The same with separate rooms."""
    return tenancy.create_channel(rivia, name="rooms", type="separate_rooms", custom_publish=True, other_permissions="publish")
