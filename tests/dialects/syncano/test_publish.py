"""Publishing (wire/syncano.md §8; cases PUB-01..24)."""

import json
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.db import connection

from channels_app.core import tenancy
from channels_app.models import Channel, Instance
from pubsub_site.asgi import application

from .conftest import NO_INSTANCE, NOKEY, NOT_FOUND, PERM, ROOM, Wire, client

pytestmark = pytest.mark.django_db(transaction=True)

LOBBY, ROOMS = "channels/lobby/publish/", "channels/rooms/publish/"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
INVALID_FORMAT = {"payload": ["Payload passed in invalid format."]}
NOT_JSON = {"payload": ["Not a valid JSON string."]}
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
TOO_LONG = ["Ensure this field has no more than 128 characters."]


def test_pub_01_an_object_is_published(manager: Wire, lobby: Channel, geralt: Any) -> None:
    answer = manager.post(LOBBY, {"payload": {"text": "soup"}})
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert DATE.fullmatch(answer.body.pop("created_at"))
    assert answer.body == {
        "id": 1,
        "room": None,
        "action": "custom",
        "author": {"admin": geralt.pk},
        "metadata": {"type": "message"},
        "payload": {"text": "soup"},
        "links": {"self": "/v1.1/instances/rivia/channels/lobby/history/1/"},
    }


def test_pub_02_the_answer_has_the_eight_keys_and_the_room(manager: Wire) -> None:
    manager.post("channels/", {"name": "witchers", "type": "separate_rooms", "custom_publish": True})
    body = {"payload": {"message": "Hello Witchers!", "type": "welcome"}, "room": "secret-room"}
    answer = manager.post("channels/witchers/publish/", body)
    assert answer.status == 201
    assert list(answer.body) == ["id", "room", "created_at", "action", "author", "metadata", "payload", "links"]
    assert answer.body["room"] == "secret-room"
    assert manager.at("").get(answer.body["links"]["self"]).body == answer.body


def test_pub_02_a_default_channel_has_no_room(manager: Wire, lobby: Channel) -> None:
    assert manager.post(LOBBY, {"payload": {}, "room": "kitchen"}).body["room"] is None


@pytest.mark.parametrize("text", ['{"a":1}', ' {"a" : 1} ', '{"a":0,"a":1}'])
def test_pub_03_a_payload_may_be_an_object_in_a_string(manager: Wire, lobby: Channel, text: str) -> None:
    assert manager.post(LOBBY, {"payload": text}).body["payload"] == {"a": 1}


def test_pub_04_what_is_not_wrapped_in_payload_is_an_empty_message(manager: Wire, lobby: Channel) -> None:
    answer = manager.post(LOBBY, {"message": "x"})
    assert (answer.status, answer.body["payload"]) == (201, {})


def test_pub_05_what_the_server_says_of_a_message_cannot_be_said_by_the_client(
    manager: Wire, lobby: Channel, geralt: Any
) -> None:
    forged = {"id": 99, "author": {"admin": 1000}, "metadata": {"x": 1}, "action": "delete", "created_at": "2000-01-01"}
    body = manager.post(LOBBY, {"payload": {}, **forged}).body
    assert (body["id"], body["author"], body["metadata"]) == (1, {"admin": geralt.pk}, {"type": "message"})
    assert body["action"] == "custom"
    assert not body["created_at"].startswith("2000")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"payload":""}', b'{"payload":{}}', b'{"payload":"{}"}'])
def test_pub_06_nothing_is_an_empty_object(manager: Wire, lobby: Channel, content: bytes) -> None:
    answer = manager.post(LOBBY, content)
    assert (answer.status, answer.body["payload"]) == (201, {})


@pytest.mark.parametrize("payload", [[1], 5, True, False, 0, 1.5, "[1]", "1", "null", "true"])
def test_pub_07_a_payload_that_is_no_object_is_refused(manager: Wire, lobby: Channel, payload: Any) -> None:
    assert manager.post(LOBBY, {"payload": payload}).said == (400, INVALID_FORMAT)


@pytest.mark.parametrize("payload", ["abc", "{", '{"a":NaN}', '{"a":"\\ud800"}', " "])
def test_pub_07_a_string_that_is_no_json_is_refused(manager: Wire, lobby: Channel, payload: str) -> None:
    assert manager.post(LOBBY, {"payload": payload}).said == (400, NOT_JSON)


def test_pub_07_null_is_no_payload(manager: Wire, lobby: Channel) -> None:
    assert manager.post(LOBBY, {"payload": None}).said == (400, {"payload": NULL})


def test_pub_08_an_unparsable_body_says_where(manager: Wire, lobby: Channel) -> None:
    answer = manager.post(LOBBY, b'{"room": "secret')
    assert answer.said == (400, {"detail": "JSON parse error - Unterminated string starting at: line 1 column 10 (char 9)"})


def test_pub_08_null_is_no_body(manager: Wire, lobby: Channel) -> None:
    assert manager.post(LOBBY, b"null").said == (400, {"non_field_errors": ["No data provided"]})


@pytest.mark.parametrize(
    ("path", "key"),
    [(LOBBY, "a" * 40), (LOBBY, ""), ("channels/nowhere/publish/", None), ("channels/", ""), ("api_keys/", "x")],
)
def test_pub_09_the_parse_error_wins_over_other_refusals(manager: Wire, lobby: Channel, path: str, key: str | None) -> None:
    wire = manager if key is None else client(key)
    answer = wire.post(path, b"{")
    assert answer.status == 400
    assert answer.body["detail"].startswith("JSON parse error - ")


def test_pub_10_a_bad_key_and_no_key_are_refused(keyless: Wire, lobby: Channel) -> None:
    assert client("a" * 40).post(LOBBY, {}).said == (403, NOKEY)
    assert keyless.post(LOBBY, {}).said == (403, PERM)


def test_pub_11_an_unknown_channel_is_not_found(manager: Wire) -> None:
    assert manager.post("channels/nowhere/publish/", {}).said == (404, NOT_FOUND)
    assert manager.at("/v1.1/instances/nowhere/").post("channels/lobby/publish/", {}).said == (404, NO_INSTANCE)


def test_pub_11_who_may_publish_nowhere_does_not_learn_what_exists(plain: Wire, lobby: Channel) -> None:
    assert plain.post(LOBBY, {}).said == plain.post("channels/nowhere/publish/", {}).said == (403, PERM)


def test_pub_12_a_channel_without_custom_publish_takes_no_message_from_anybody(manager: Wire, rivia: Instance) -> None:
    tenancy.create_channel(rivia, name="quiet")
    refused = (403, {"detail": "Custom publish not allowed on this channel."})
    assert manager.post("channels/quiet/publish/", {"payload": {}}).said == refused
    assert manager.post("channels/quiet/publish/", {"payload": 5}).said == refused  # before the body is looked at
    assert manager.ids("channels/quiet/history/") == []


def test_pub_13_separate_rooms_without_a_room_is_refused(manager: Wire, rooms: Channel) -> None:
    assert manager.post(ROOMS, {"payload": {}}).said == (400, ROOM)
    assert manager.post(ROOMS).said == (400, ROOM)


@pytest.mark.parametrize(
    ("room", "messages"),
    [
        ("", BLANK),
        ("  ", BLANK),
        (None, NULL),
        (True, ["Not a valid string."]),
        ({}, ["Not a valid string."]),
        (["a"], ["Not a valid string."]),
        ("x" * 129, TOO_LONG),
        ("a\0b", ["Null characters are not allowed."]),
    ],
)
def test_pub_14_a_wrong_room_is_refused(manager: Wire, rooms: Channel, room: Any, messages: list[str]) -> None:
    assert manager.post(ROOMS, {"room": room}).said == (400, {"room": messages})


@pytest.mark.parametrize(
    ("room", "echoed"),
    [
        ("x" * 128, "x" * 128),
        (5, "5"),
        (1.5, "1.5"),
        ("  Mine ", "mine"),
        ("a/b c", "a/b c"),
        ("Żubr 🦬", "żubr 🦬"),
        (f"  {'x' * 128}  ", "x" * 128),
    ],
)
def test_pub_14_a_room_is_text_trimmed_and_lower_cased(manager: Wire, rooms: Channel, room: Any, echoed: str) -> None:
    answer = manager.post(ROOMS, {"room": room})
    assert (answer.status, answer.body["room"]) == (201, echoed)


def test_pub_15_a_default_channel_checks_the_room_and_ignores_it(manager: Wire, lobby: Channel) -> None:
    assert manager.post(LOBBY, {"room": "kitchen"}).body["room"] is None
    assert manager.post(LOBBY, {"room": "x" * 129}).said == (400, {"room": TOO_LONG})


def test_pub_16_all_wrong_fields_are_told_at_once(manager: Wire, rooms: Channel) -> None:
    assert manager.post(ROOMS, {"payload": None, "room": ""}).said == (400, {"payload": NULL, "room": BLANK})


async def post_over_asgi(wire: Wire, path: str, content: Any, type: str = "application/json") -> httpx.Response:
    """Through the whole server; an iterator as content is sent in chunks, without a length."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as http:
        return await http.post(wire.base + path, content=content, headers={**wire.headers, "Content-Type": type})


@pytest.mark.parametrize(("size", "status"), [(65536, 201), (65537, 413)])
async def test_pub_17_a_body_may_have_65536_bytes(manager: Wire, lobby: Channel, size: int, status: int) -> None:
    content = b'{"payload":{"text":"' + b"x" * (size - 23) + b'"}}'
    assert len(content) == size
    answer = await post_over_asgi(manager, LOBBY, content)
    assert answer.status_code == status
    if status == 413:
        assert answer.json() == {"detail": "Request size limit exceeded (65536)."}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_pub_18_other_methods_are_not_allowed(manager: Wire, lobby: Channel, method: str) -> None:
    answer = manager.ask(method, LOBBY)
    assert answer.said == (405, {"detail": f'Method "{method}" not allowed.'})
    assert answer.headers["Allow"] == "POST, OPTIONS"


def test_pub_19_a_form_is_read(manager: Wire, rooms: Channel) -> None:
    form = urlencode({"payload": '{"a":1}', "room": "Ż"}).encode()
    answer = manager.post(ROOMS, form, type="application/x-www-form-urlencoded")
    assert (answer.status, answer.body["payload"], answer.body["room"]) == (201, {"a": 1}, "ż")


def test_pub_19_a_multipart_form_is_read(manager: Wire, rooms: Channel) -> None:
    part = '--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    form = (part % ("payload", '{"a":1}') + part % ("room", "x") + "--b--\r\n").encode()
    answer = manager.post(ROOMS, form, type="multipart/form-data; boundary=b")
    assert (answer.status, answer.body["payload"], answer.body["room"]) == (201, {"a": 1}, "x")


def test_pub_19_an_uploaded_file_is_no_payload(manager: Wire, rooms: Channel) -> None:
    part = '--b\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n{}\r\n'
    form = (part % "payload" + part % "room" + "--b--\r\n").encode()
    answer = manager.post(ROOMS, form, type="multipart/form-data; boundary=b")
    assert answer.said == (400, {**INVALID_FORMAT, "room": ["Not a valid string."]})


def test_pub_19_plain_text_holding_json_is_read(manager: Wire, lobby: Channel) -> None:
    answer = manager.post(LOBBY, b'{"payload":{"a":1}}', type="text/plain;charset=UTF-8")
    assert answer.body["payload"] == {"a": 1}


def test_pub_19_xml_is_not_read(manager: Wire, lobby: Channel) -> None:
    answer = manager.post(LOBBY, b"<a/>", type="application/xml")
    assert answer.said == (415, {"detail": 'Unsupported media type "application/xml" in request.'})


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "nonsense"])
def test_pub_19_the_charset_is_utf_8_whatever_the_client_says(manager: Wire, lobby: Channel, charset: str) -> None:
    for kind, content in (
        ("application/json", '{"payload":{"a":"ż"}}'),
        ("application/x-www-form-urlencoded", urlencode({"payload": '{"a":"ż"}'})),
    ):
        answer = manager.post(f"{LOBBY}?a=%C5%BC", content.encode(), type=f"{kind}; charset={charset}")
        assert (answer.status, answer.body["payload"]) == (201, {"a": "ż"})


@pytest.mark.parametrize("charset", ["hex", "rot13"])
async def test_pub_19_a_charset_that_is_no_charset_does_no_harm(manager: Wire, lobby: Channel, charset: str) -> None:
    answer = await post_over_asgi(manager, f"{LOBBY}?a=%C5%BC", b'{"payload":{"a":1}}', f"application/json; charset={charset}")
    assert (answer.status_code, answer.json()["payload"]) == (201, {"a": 1})


async def test_a_body_sent_in_chunks_is_read(manager: Wire, lobby: Channel) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b'{"payload":', b'{"a":1}', b"}"):
            yield part

    answer = await post_over_asgi(manager, LOBBY, chunks())
    assert (answer.status_code, answer.json()["payload"]) == (201, {"a": 1})


def test_pub_19_more_form_fields_than_anybody_needs_are_refused(manager: Wire, lobby: Channel) -> None:
    answer = manager.post(LOBBY, b"a&" * 5000, type="application/x-www-form-urlencoded")
    assert answer.status == 400


@pytest.mark.parametrize(
    "text",
    ['{"n":0.1}', '{"n":1e-7}', '{"n":null}', '{"n":12345678901234567890}', '{"n":"🦄ż"}', '{"n":-0.0}', '{"n":"\\u0000"}'],
)
def test_pub_20_values_survive(manager: Wire, lobby: Channel, text: str) -> None:
    answer = manager.post(LOBBY, f'{{"payload":{text}}}'.encode())
    assert answer.status == 201
    assert answer.body["payload"] == json.loads(text)
    assert f'"payload":{json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))}'.encode() in answer.raw


@pytest.mark.parametrize(
    "content",
    [
        b'{"payload":{"n":NaN}}',
        b'{"payload":{"n":-Infinity}}',
        b'{"payload":{"n":1e999}}',
        b'{"payload":{"n":' + b"1" * 5000 + b"}}",
        b'{"payload":{"t":"\\ud800"}}',
        b'{"payload":{"\\uDFFF":1}}',
        b'{"payload":{"t":"\xff"}}',
        b'{"payload":' + b"[" * 20000 + b"]" * 20000 + b"}",
        b'{"payload":{}} trailing',
        b"\x00",
        b"   ",
        b"\xef\xbb\xbf{}",
    ],
    ids=["nan", "infinity", "overflow", "digits", "surrogate", "key", "utf-8", "deep", "trailing", "nul", "blank", "bom"],
)
def test_pub_21_what_readers_could_not_read_is_a_parse_error_and_burns_no_id(
    manager: Wire, lobby: Channel, content: bytes
) -> None:
    answer = manager.post(LOBBY, content)
    assert answer.status == 400
    assert answer.body["detail"].startswith("JSON parse error - ")
    assert manager.publish() == 1


def test_pub_22_ids_grow_by_one_and_rooms_share_them(manager: Wire, rooms: Channel) -> None:
    assert [manager.publish_to(room) for room in ("a", "b", "a", "c")] == [1, 2, 3, 4]


def test_pub_23_concurrent_publishes_leave_no_gap(manager: Wire, lobby: Channel, rooms: Channel) -> None:
    def publish(number: int) -> tuple[str, int]:
        try:
            if number % 2:
                return "lobby", manager.publish(n=number)
            return "rooms", manager.publish_to(f"room-{number % 3}")
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        published = list(pool.map(publish, range(40)))
    for name in ("lobby", "rooms"):
        assert sorted(id_ for channel, id_ in published if channel == name) == list(range(1, 21))


def test_pub_24_a_refused_publish_burns_no_id(manager: Wire, rooms: Channel) -> None:
    assert manager.publish_to("a") == 1
    for body in ({}, {"room": ""}, {"room": "a", "payload": 5}, []):
        assert manager.post(ROOMS, body).status == 400
    assert manager.publish_to("a") == 2


# Our own: Idempotency-Key


def test_the_same_publish_sent_again_gets_the_same_answer(manager: Wire, rooms: Channel) -> None:
    body = {"payload": {"n": 1}, "room": "a"}
    first = manager.post(ROOMS, body, Idempotency_Key="k1")
    again = manager.post(ROOMS, body, Idempotency_Key="k1")
    assert (first.status, again.status) == (201, 200)
    assert again.body == {**first.body, "duplicate": True}
    assert manager.post(ROOMS, body, Idempotency_Key="k2").body["id"] == 2


def test_an_idempotency_key_cannot_be_used_for_another_message(manager: Wire, lobby: Channel) -> None:
    manager.post(LOBBY, {"payload": {"n": 1}}, Idempotency_Key="k1")
    answer = manager.post(LOBBY, {"payload": {"n": 2}}, Idempotency_Key="k1")
    assert answer.said == (409, {"detail": "This Idempotency-Key was used for another message."})
    assert manager.ids("channels/lobby/history/") == [1]


def test_an_idempotency_key_has_at_most_255_characters(manager: Wire, lobby: Channel) -> None:
    assert manager.post(LOBBY, {}, Idempotency_Key="k" * 255).status == 201
    answer = manager.post(LOBBY, {}, Idempotency_Key="k" * 256)
    assert answer.said == (400, {"Idempotency-Key": ["Ensure this header has no more than 255 characters."]})
