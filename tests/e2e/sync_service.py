"""A service of a running server, as a client of Twilio's REST API uses it."""

import itertools
from typing import Any
from urllib.parse import quote

import httpx

from .deployment import Server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

_names = (f"stream-{number}" for number in itertools.count(1))


class SyncService:
    """`credentials`: what `quickstart --json` printed."""

    def __init__(self, server: Server, credentials: dict[str, Any]) -> None:
        self.credentials: dict[str, str] = credentials["twilio"]
        self.sid = self.credentials["service_sid"]
        self.path = f"/v1/Services/{self.sid}"
        pair = self.credentials["account_sid"], self.credentials["auth_token"]
        self.client = httpx.Client(base_url=server.url, auth=pair, timeout=30)

    def create_stream(self, **fields: str) -> dict[str, Any]:
        """A new stream, with a new name unless `UniqueName` is given."""
        answer = self.client.post(f"{self.path}/Streams", data={"UniqueName": next(_names), **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def messages(self, stream: str) -> str:
        return f"{self.path}/Streams/{quote(stream)}/Messages"

    def publish(self, stream: str, data: str | bytes) -> httpx.Response:
        return self.post(stream, b"Data=" + quote(data, safe="").encode())

    def post(self, stream: str, body: bytes, headers: dict[str, str] = FORM) -> httpx.Response:
        return self.client.post(self.messages(stream), content=body, headers=headers)


def is_error(status: int, body: Any) -> bool:
    """Whether it is an error as this wire has them: four keys, and no other (wire/twilio.md §1)."""
    return (
        isinstance(body, dict)
        and sorted(body) == ["code", "message", "more_info", "status"]
        and body["status"] == status
        and body["more_info"] == f"https://www.twilio.com/docs/errors/{body['code']}"
        and bool(body["message"])
    )


def error(answer: httpx.Response) -> tuple[int, int]:
    """(status, code) of an answer that is an error."""
    body = answer.json()
    assert is_error(answer.status_code, body), body
    return body["status"], body["code"]
