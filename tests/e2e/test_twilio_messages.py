"""Publishing to streams over Twilio's REST API, on the real server (wire/twilio.md §12, cases 1-29, 37, 38, 60)."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import websockets.sync.client
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from .deployment import Server, Template, channel_path
from .sync_service import FORM, SyncService, error

SID = re.compile(r"TZ[0-9a-f]{32}")
MISSING, NO_OBJECT, NULL, TOO_LARGE, TOO_MANY = (400, 20001), (400, 54008), (400, 54251), (413, 54006), (429, 54009)


@pytest.fixture(scope="module")
def server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = template.deploy(tmp_path_factory.mktemp("twilio")).start(PUBSUB_POLL_WAIT="1")
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def stream(service: SyncService) -> str:
    """A new stream's unique name."""
    return str(service.create_stream()["unique_name"])


def accepted(answer: httpx.Response) -> Any:
    """The data of the message that was made."""
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert sorted(body) == ["data", "sid"]
    assert SID.fullmatch(body["sid"])
    return body["data"]


def of_size(size: int, character: str = "a") -> str:
    """Compact JSON of so many bytes."""
    count, rest = divmod(size - len('{"d":""}'), len(character.encode()))
    return json.dumps({"d": character * count + "a" * rest}, ensure_ascii=False, separators=(",", ":"))


# What is taken


def test_case_01_02_a_stream_takes_a_message_by_its_sid_and_by_its_name(service):
    stream = service.create_stream()
    assert accepted(service.publish(stream["sid"], "{}")) == {}
    assert accepted(service.publish(stream["unique_name"], "{}")) == {}


def test_case_03_data_comes_back_as_it_was(service, stream):
    assert accepted(service.publish(stream, '{"u":"é😀","n":null,"l":[1,{}]}')) == {"u": "é😀", "n": None, "l": [1, {}]}


@pytest.mark.parametrize("body", [b"Data=%7B%22a%22%3A+%22b+c%22%7D", b"Data=%7B%22a%22%3A%20%22b%20c%22%7D"])
def test_case_04_a_space_has_two_spellings(service, stream, body):
    assert accepted(service.post(stream, body)) == {"a": "b c"}


def test_case_05_space_between_means_nothing(service, stream):
    assert accepted(service.post(stream, b"Data=%7B%0A%0A%7D")) == {}


def test_case_06_no_two_messages_share_a_sid(service, stream):
    assert len({service.publish(stream, "{}").json()["sid"] for _ in range(10)}) == 10


def test_a_stream_of_any_name_can_be_published_to(service):
    for name in ("client:agent.x", "ünï cödé", "a+b %41", "x" * 320):
        service.create_stream(UniqueName=name)
        assert accepted(service.publish(name, "{}")) == {}


# What is refused


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", FORM, id="07 no body"),
        pytest.param(b"", {}, id="07 no type"),
        pytest.param(b"data={}", FORM, id="08 lower case"),
        pytest.param(b'{"Data":{}}', {"Content-Type": "application/json"}, id="09 JSON"),
        pytest.param(b"Data={}", {"Content-Type": "text/plain"}, id="09 text"),
    ],
)
def test_case_07_to_09_data_must_be_in_the_form(service, stream, body, headers):
    assert error(service.post(stream, body, headers)) == MISSING


def test_case_10_data_in_the_query_does_not_count(service, stream):
    answer = service.client.post(f"{service.messages(stream)}?Data=%7B%7D", content=b"", headers=FORM)
    assert error(answer) == MISSING
    assert answer.json()["message"] == "Missing required parameter Data in the post body"


@pytest.mark.parametrize(
    "data",
    [
        *("invalid", "", '{"a":', "{} x", "{'a':1}", "[]", '"x"', "1", "true"),
        *('{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', b'{"a":"\xff"}', "\x00"),
    ],
)
def test_case_11_to_16_data_must_be_an_object_of_json(service, stream, data):
    assert error(service.publish(stream, data)) == NO_OBJECT


def test_case_15_null_has_a_code_of_its_own(service, stream):
    assert error(service.publish(stream, "null")) == NULL


@pytest.mark.parametrize(
    "data",
    [
        pytest.param('{"a":' + "[" * 2_000 + "]" * 2_000 + "}", id="17 deep"),
        pytest.param('{"a":"\\ud800"}', id="18 half a character"),
        pytest.param('{"a":"\\u0000"}', id="18 NUL"),
        pytest.param('{"a":' + "9" * 4_000 + "}", id="18 digits"),
        pytest.param(b'{"a":"\xff\xfe"}', id="19 no UTF-8"),
        pytest.param('{"a":1,"a":2}', id="a name twice"),
    ],
)
def test_case_17_to_19_what_is_odd_is_taken_or_refused(service, stream, data):
    answer = service.publish(stream, data)
    if answer.status_code != 201:
        assert error(answer) == NO_OBJECT
    json.loads(answer.content.decode(), parse_constant=pytest.fail)


@pytest.mark.parametrize("character", ["a", "中"])
def test_case_20_to_22_the_limit_is_4096_bytes(service, stream, character):
    data = of_size(4_096, character)
    assert len(data.encode()) == 4_096
    assert accepted(service.publish(stream, data)) == json.loads(data)
    assert error(service.publish(stream, of_size(4_097, character))) == TOO_LARGE


def test_case_23_what_counts_is_the_compact_form(service, stream):
    assert accepted(service.publish(stream, '{"a":' + " " * 6_000 + "1}")) == {"a": 1}


def test_case_24_far_too_much_is_refused_and_the_connection_goes_on(service, server, stream):
    with httpx.Client(base_url=server.url, auth=service.client.auth, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(2):
            answer = client.post(service.messages(stream), content=b"Data=" + b"x" * 3_000_000, headers=FORM)
            assert error(answer) == TOO_LARGE
            assert accepted(client.post(service.messages(stream), data={"Data": "{}"})) == {}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_case_37_messages_can_only_be_made(service, stream, method):
    assert error(service.client.request(method, service.messages(stream))) == (405, 20004)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_case_38_a_message_cannot_be_addressed(service, stream, method):
    sid = service.publish(stream, "{}").json()["sid"]
    assert error(service.client.request(method, f"{service.messages(stream)}/{sid}")) == (404, 20404)


def test_case_30_31_35_order_of_refusals(service, server, stream):
    """Credentials, then the service, then the stream, then what is sent."""
    nobody = httpx.Client(base_url=server.url)
    assert error(nobody.post(service.messages("nowhere"), content=b"Data=[]", headers=FORM)) == (401, 20003)
    elsewhere = service.messages(stream).replace(service.sid, "IS" + "0" * 32)
    assert error(service.client.post(elsewhere, content=b"Data=[]", headers=FORM)) == (404, 20404)
    assert error(service.publish("nowhere", "[]")) == (404, 20404)
    assert error(service.publish("TO" + "0" * 32, "[]")) == (404, 20404)
    assert error(service.publish(stream, "[]")) == NO_OBJECT


# How much


def test_case_25_a_silent_stream_takes_25_at_once(service, stream):
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda number: service.publish(stream, f'{{"n":{number}}}'), range(25)))
    assert [accepted(answer)["n"] for answer in answers] == list(range(25))


def test_case_26_to_28_a_stream_that_is_too_fast_is_refused_alone_and_recovers(service, stream):
    other = service.create_stream()["sid"]
    with ThreadPoolExecutor(8) as pool:
        answers = []
        while not answers or all(answer.status_code == 201 for answer in answers):
            answers = list(pool.map(lambda _: service.publish(stream, "{}"), range(200)))
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {error(answer) for answer in refused} == {TOO_MANY}
    assert refused[0].json()["message"] == f"Rate limit exceeded for publish-stream-{stream}"
    assert refused[0].headers["Retry-After"] == "1"
    assert accepted(service.publish(other, "{}")) == {}
    while (answer := service.publish(stream, "{}")).status_code == 429:
        pass
    assert accepted(answer) == {}


def test_what_is_refused_for_another_reason_takes_no_token(service, stream):
    for _ in range(60):
        assert error(service.publish(stream, "[]")) == NO_OBJECT
    with ThreadPoolExecutor(25) as pool:
        assert all(answer.status_code == 201 for answer in pool.map(lambda _: service.publish(stream, "{}"), range(30)))


# Who hears it


class Everywhere:
    """A channel's readers in Syncano's API: a long poll, a WebSocket and an event stream."""

    def __init__(self, client: httpx.Client, path: str, socket: websockets.sync.client.ClientConnection) -> None:
        self._client, self._poll, self._socket = client, path, socket

    def poll(self, last_id: int = 0) -> dict[str, Any] | None:
        answer = self._client.get(self._poll, params={"last_id": last_id})
        return answer.json() if answer.status_code == 200 else None

    def from_socket(self) -> dict[str, Any]:
        return dict(json.loads(self._socket.recv(timeout=10)))

    def from_event_stream(self) -> dict[str, Any]:
        with self._client.stream("GET", self._poll, params={"transport": "sse", "last_id": 0}) as stream:
            return next(dict(json.loads(line[6:])) for line in stream.iter_lines() if line.startswith("data: {"))


@pytest.fixture
def everywhere(server: Server, template: Template, stream: str) -> Iterator[Everywhere]:
    key = template.credentials["api_key"]
    path = f"{channel_path(template.credentials['instance'], stream)}poll/"
    url = f"{server.url.replace('http', 'ws', 1)}{path}?transport=websocket&last_id=0&api_key={key}"
    with server.client(key) as client, websockets.sync.client.connect(url) as socket:
        yield Everywhere(client, path, socket)


def sdk(service: SyncService, server: Server, *pair: str) -> Client:
    client = Client(*(pair or (service.credentials["account_sid"], service.credentials["auth_token"])))
    client.sync.base_url = server.url
    return client


def test_what_twilios_sdk_publishes_is_heard_everywhere_once_under_one_id(service, server, stream, everywhere):
    data = {"text": "żółć ☃", "list": [1, 2.5, None, {"a": True}]}
    messages = sdk(service, server).sync.v1.services(service.sid).sync_streams(stream).stream_messages
    message = messages.create(data=data)
    assert (message.data, bool(SID.fullmatch(message.sid))) == (data, True)
    heard = [everywhere.poll(), everywhere.from_socket(), everywhere.from_event_stream()]
    assert heard[0] == heard[1] == heard[2]
    assert (heard[0]["id"], heard[0]["payload"]) == (1, data)
    assert everywhere.poll(last_id=1) is None  # held to its end: there was nothing more


def test_case_60_a_subscriber_gets_what_was_taken_and_nothing_else(service, stream, everywhere):
    for body in (b"", b"data={}", b"Data=invalid", b"Data=[]", b"Data=null", b"Data=" + of_size(4_097).encode()):
        assert service.post(stream, body).status_code in (400, 413)
    accepted(service.publish(stream, '{"n": 1}'))
    accepted(service.publish(stream, '{"n": 2}'))
    heard = [everywhere.from_socket() for _ in range(2)]
    assert [(message["id"], message["payload"]) for message in heard] == [(1, {"n": 1}), (2, {"n": 2})]


def test_an_api_key_of_the_account_publishes_as_well(service, server, stream):
    keys = service.credentials
    client = sdk(service, server, keys["api_key_sid"], keys["api_key_secret"])
    assert client.sync.v1.services(service.sid).sync_streams(stream).stream_messages.create(data={}).data == {}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("nowhere", {}, (404, 20404)),
        (None, [1], NO_OBJECT),
        (None, "no JSON", NO_OBJECT),
        (None, 5, NO_OBJECT),
        (None, None, MISSING),
        (None, {"d": "a" * 5_000}, TOO_LARGE),
        (None, {"d": "a" * 3_000_000}, TOO_LARGE),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_refusal_is_the_sdks_own_exception(service, server, stream, name, data, expected):
    with pytest.raises(TwilioRestException) as refusal:
        sdk(service, server).sync.v1.services(service.sid).sync_streams(name or stream).stream_messages.create(data=data)
    assert (refusal.value.status, refusal.value.code) == expected
    assert refusal.value.method == "POST"
