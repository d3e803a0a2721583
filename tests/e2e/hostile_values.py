"""Values and bodies that somebody careless, broken or hostile may send. Strategies for hypothesis; bodies are bytes."""

import json
from typing import Any

from hypothesis import strategies as st

LIMIT = 65_536  # bytes of a request body (wire/syncano.md §8)
DEEP = 10_000
DIGITS = 5_000  # more than Python turns into a number

FIELDS = (
    "payload", "room", "name", "new_name", "description", "type", "group", "group_permissions", "other_permissions",
    "custom_publish", "metadata", "profile", "username", "password", "email", "label", "user", "ignore_acl",
    "allow_user_create", "allow_anonymous_read", "_api_key", "_user_key", "id", "author", "\x00", "",
)  # fmt: skip

# With surrogates and NUL, which hypothesis' own default leaves out.
texts = st.one_of(
    st.text(st.characters(), max_size=40),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "\x00",
                "a\x00b",
                "\ud800",
                "\udfff\ud800",
                "x" * 300,
                "é" * 129,
                "null",
                "true",
                "-1",
                "1e999",
                "{}",
                "[1]",
            ),
            *("separate_rooms", "publish", "subscribe", "fresh-name", "somebody@example.com", "../../etc", "{{7*7}}", "%s%n"),
        ]
    ),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)), max_leaves=12
)
objects = st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts), values, max_size=5)
publishes = st.fixed_dictionaries({"payload": values}, optional={"room": values})
# What each route takes, so that requests get past the first checks; and the same with one thing in it gone wrong.
SOUND: list[dict[str, Any]] = [
    {"payload": {"a": 1}, "room": "kitchen"},
    {"payload": '{"a": 1}', "room": 5},
    {"name": "fresh-name", "custom_publish": True, "type": "separate_rooms"},
    {"name": "another-instance", "metadata": {"a": 1}},
    {"new_name": "renamed-instance"},
    {"username": "triss", "password": "x", "profile": {"a": 1}},
    {"email": "somebody@example.com", "password": "x"},
    {"label": "a group", "name": "x", "description": "y"},
    {"user": 1},
    {"group": 1, "group_permissions": "publish"},
    {"ignore_acl": True, "description": "a key"},
]
sound = st.sampled_from(SOUND)
spoilt = st.builds(lambda body, name, value: {**body, name: value}, sound, st.sampled_from(FIELDS), values)


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """JSON as Python writes it: NaN and Infinity included, half a surrogate pair escaped or as bytes that are no UTF-8."""
    value = draw(st.one_of(sound, spoilt, spoilt, publishes, objects, values))
    encoding = draw(st.sampled_from(["utf-8"] * 10 + ["utf-16", "utf-8-sig"]))
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode(encoding, "surrogatepass")


def padded(size: int) -> bytes:
    """A publish of exactly that many bytes."""
    start, end = b'{"payload":{"a":"', b'"}}'
    return start + b"x" * (size - len(start) - len(end)) + end


known_bad = st.sampled_from(
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{",
        b'{"payload"',
        b'"',
        b"NaN",
        b"null",
        b"[]",
        b"7",
        b'{"payload": NaN}',
        b'{"payload": {"a": Infinity}}',
        b'{"payload": {"a": -Infinity}}',
        b'{"payload": {"a": 1e999}}',
        b'{"payload": {"a": -1e999}}',
        b'{"payload": "{\\"a\\": NaN}"}',
        b'{"payload": "{\\"a\\": 1e999}"}',
        b'{"payload": {"a": %b}}' % (b"9" * DIGITS),
        b'{"payload": "{\\"a\\": %b}"}' % (b"9" * DIGITS),
        b'{"group": %b}' % (b"9" * DIGITS),
        b'{"user": 1%b}' % (b"0" * 300),
        b'{"payload": {"a": "\\ud800"}}',
        b'{"payload": {"\\udfff": 1}}',
        b'{"payload": "{\\"a\\": \\"\\\\ud800\\"}"}',
        b'{"room": "\\ud800"}',
        b'{"room": "\\u0000"}',
        b'{"payload": {"a": "\\u0000"}}',
        b'{"name": "\\u0000abcde"}',
        b'{"username": "\\ud800", "password": "\\udfff"}',
        b'{"email": "a@b.example", "password": "\\ud800"}',
        b'{"profile": {"a": "\\u0000"}}',
        b'{"metadata": {"a": {"b": {"c": "\\u0000"}}}}',
        b'{"description": "\\u0000"}',
        b'{"label": "\\ud800"}',
        b'{"payload": {"a": 1, "a": 2}, "payload": {}, "payload": {"b": 3}}',
        b'{"_api_key": {"a": 1}, "_user_key": []}',
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"payload": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        b'{"payload": {"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'{"payload": "' + b"[" * DEEP + b"]" * DEEP + b'"}',
        b'{"profile": {"a":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        padded(LIMIT),
        padded(LIMIT + 1),
        b" " * LIMIT,
        b" " * (LIMIT + 1),
    ]
)

BOUNDARY = b"limit"


def _part(headers: bytes, body: bytes) -> bytes:
    return b"--" + BOUNDARY + b"\r\n" + headers + b"\r\n\r\n" + body + b"\r\n"


form_bodies = st.one_of(
    st.sampled_from(
        [
            b"payload=%7B%22a%22%3A1%7D",
            b"payload=%00&room=%ff",
            b"payload=%ED%A0%80",
            b"payload=%7B%22a%22%3ANaN%7D",
            b"_api_key=%00&payload=%7B%7D",
            b"a=1&" * 3_000,  # more fields than Django takes
            b"=&&=&%",
            b"--" + BOUNDARY + b"--",
            b"--" + BOUNDARY,
            _part(b"no header", b"x"),
            _part(b'Content-Disposition: form-data; name="payload"', b'{"a": 1}'),
            _part(b'Content-Disposition: form-data; name="payload"', b"\xff\x00") + b"--limit--",
            _part(b'Content-Disposition: form-data; name="payload"; filename="../\x00x"', b"{}") + b"--limit--",
            _part(b'Content-Disposition: form-data; name="room"; filename="a.txt"', b"{}") + b"--limit--",
            _part(b"Content-Disposition: form-data; name*=utf-8''%FF%00", b"{}") + b"--limit--",
            _part(b'Content-Disposition: form-data; name="payload"\r\nContent-Transfer-Encoding: base64', b"?") + b"--limit--",
            _part(b'Content-Disposition: form-data; name="a"', b"1") * 1_000 + b"--limit--",
            _part(b'Content-Disposition: form-data; name="a"; filename="f"', b"1") * 200 + b"--limit--",
        ]
    ),
    st.binary(max_size=80).map(lambda junk: _part(b'Content-Disposition: form-data; name="payload"', junk) + b"--limit--"),
)

CONTENT_TYPES = [
    b"application/json; charset=latin-1",
    b"application/json; charset=no-such-charset",
    b"text/plain",
    b"application/x-www-form-urlencoded; charset=utf-16",
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=\xff",
    b"multipart/form-data; boundary=" + b"x" * 300,
    b"application/xml",
    b"",
    b"/",
    b"a/b/c;;;=",
    b"application/json\xff",
]
JSON = st.just(b"application/json")
FORMS = st.sampled_from([b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=limit"])
bodies = st.one_of(json_bodies(), known_bad, form_bodies, st.binary(max_size=200))
# A body and its content type (None: without one).
entities: st.SearchStrategy[tuple[bytes | None, bytes]] = st.one_of(
    st.tuples(JSON, json_bodies()),
    st.tuples(JSON, json_bodies()),
    st.tuples(JSON, known_bad),
    st.tuples(FORMS, form_bodies),
    st.tuples(st.one_of(st.none(), st.sampled_from(CONTENT_TYPES)), bodies),
)
