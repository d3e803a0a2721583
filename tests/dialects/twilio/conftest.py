"""An account with a service, and clients that read like the wire: `rest.post("Services", FriendlyName="farm")`."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from channels_app.core import tenancy
from channels_app.core.credentials import unseal
from channels_app.dialects.twilio import sids
from channels_app.models import Administrator

FORM = "application/x-www-form-urlencoded"
NOWHERE_SID = "IS" + "0" * 32
NO_STREAM_SID = "TO" + "0" * 32


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    raw: bytes

    @property
    def error(self) -> tuple[int, int]:
        """(status, code) of an answer that is an error with exactly the four keys (wire/twilio.md §1)."""
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        assert sorted(self.body) == ["code", "message", "more_info", "status"], self.body
        assert self.body["status"] == self.status
        assert self.body["more_info"] == f"https://www.twilio.com/docs/errors/{self.body['code']}"
        assert self.body["message"]
        return self.body["status"], self.body["code"]

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


@dataclass(frozen=True)
class Rest:
    """A client of the REST API: `pair` is `username:password`; `base` what its paths are relative to."""

    pair: str
    base: str = "/v1/"
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes = b"", type: str = FORM, **headers: str) -> Answer:
        basic = {"Authorization": f"Basic {base64.b64encode(self.pair.encode()).decode()}"} if self.pair else {}
        sent = {**basic, **self.headers, **headers}
        where = path if path.startswith(("/", "http://")) else self.base + path
        response = Client().generic(method, where.removeprefix("http://testserver"), body, content_type=type, headers=sent)
        return Answer(
            response.status_code, json.loads(response.content) if response.content else None, response.headers, response.content
        )

    def get(self, path: str = "") -> Answer:
        return self.ask("GET", path)

    def post(self, path: str = "", **parameters: object) -> Answer:
        return self.ask("POST", path, urlencode(parameters).encode())

    def delete(self, path: str = "") -> Answer:
        return self.ask("DELETE", path)

    def at(self, base: str) -> "Rest":
        """The same client, elsewhere."""
        return replace(self, base=base)

    def as_(self, pair: str) -> "Rest":
        """Somebody else."""
        return replace(self, pair=pair)


def make_account(name: str) -> Administrator:
    return tenancy.administrator_of(get_user_model().objects.create_user(name, f"{name}@rivia.example", "a-good-password"))


def auth_pair(account: Administrator) -> str:
    return f"{sids.account_sid(account.uuid)}:{unseal(account.key_sealed)}"


@pytest.fixture
def account(transactional_db: None) -> Administrator:
    return make_account("geralt")


@pytest.fixture
def rest(account: Administrator) -> Rest:
    return Rest(auth_pair(account))


@pytest.fixture
def stranger(transactional_db: None) -> Rest:
    """Somebody with an account of their own."""
    return Rest(auth_pair(make_account("yennefer")))


@pytest.fixture
def service(rest: Rest) -> Rest:
    """The client, in a service of its own: paths are relative to it."""
    return rest.at(f"/v1/Services/{rest.post('Services')['sid']}/")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Let so much time pass."""
    now = timezone.now

    def later(by: timedelta) -> None:
        monkeypatch.setattr(timezone, "now", lambda: now() + by)

    return later
