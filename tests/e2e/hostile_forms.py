"""Requests to Twilio's API that should not be: what to send is drawn here, what must hold is in `test_hostile_forms`."""

import base64
import json
from urllib.parse import quote_from_bytes, quote_plus

from hypothesis import strategies as st

from .hostile_requests import JUNK, METHODS, Attempt, headers
from .hostile_values import objects, texts, values

SERVICE, STREAM = "{service}", "{stream}"  # replaced by SIDs that exist
WORDS = ("Services", "Streams", "Messages", "Documents", "Lists", "Maps", "Nope", "services", "Permissions")
FIELDS = {
    "UniqueName": ["t", "", "TO" + "0" * 32, "x" * 320, "x" * 321, "a/b", "a\x00b", "ünï", " ", "."],
    "Ttl": ["", "0", "86400", "-1", "31536000", "31536001", "1.5", "1e3", "٣", "9" * 5_000, "0x10", " 1 "],
    "FriendlyName": ["farm", "", "x" * 5_000, "\x00"],
    "WebhookUrl": ["https://example.com/", "not a url", "http://" + "x" * 600, "http://[::1", "javascript:1", ""],
    "WebhooksFromRestEnabled": ["true", "false", "TRUE", "1", "", "maybe"],
    "AclEnabled": ["true", "no"],
    "ReachabilityWebhooksEnabled": ["true", "2"],
    "ReachabilityDebouncingEnabled": ["false", "\x00"],
    "ReachabilityDebouncingWindow": ["1000", "999", "30001", "abc", "1e3", "9" * 5_000],
    "Data": ["{}", "null", "[]", '{"a":NaN}', '{"a":1e999}', '{"a":"\\ud800"}', '{"a":' + "[" * 2_000, "9" * 5_000],
}
QUERIES = {
    "PageSize": ["0", "-1", "1", "50", "500", "1001", "abc", "9" * 5_000, "٣"],
    "Page": ["0", "1", "-1", "abc", "9" * 30],
    "PageToken": ["garbage", "", "PTeyJ9", "PTAAAA", "PT" + "é", "PTeyJpZCI6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5fQ"],
    "Data": ["{}"],
}


def _pairs(known: dict[str, list[str]]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Fields of the API with values that are right or nearly so, and some with any."""
    pair = st.sampled_from(sorted(known)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(known[name]) | texts))
    return st.lists(pair | st.tuples(texts, texts), max_size=4)


def _escaped(text: str) -> bytes:
    return quote_plus(text.encode("utf-8", "surrogatepass")).encode()


encoded = _pairs(FIELDS).map(lambda pairs: b"&".join(_escaped(name) + b"=" + _escaped(value) for name, value in pairs))
messages = (objects | values).map(lambda value: b"Data=" + _escaped(json.dumps(value)))
raw = st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"Data=" + quote_from_bytes(data).encode())
odd = st.sampled_from(
    [b"&" * 5_000, b"a&" * 999 + b"Data={}", b"Data", b"%", b"=", b"Data=%", b"Data=%ff%zz", b"Data=" + b"x" * 200_000]
)
bodies = encoded | encoded | messages | messages | raw | odd
content_types = st.sampled_from(
    [b"application/x-www-form-urlencoded"] * 8
    + [
        b"application/x-www-form-urlencoded; charset=latin-1",
        b"application/json",
        b"multipart/form-data; boundary=x",
        b"text/plain",
        b"",
        b";;",
    ]
)

segments = st.sampled_from([SERVICE, STREAM, "t", *WORDS, *JUNK])
right = st.sampled_from(
    ["/Services", f"/Services/{SERVICE}", f"/Services/{SERVICE}/Streams", f"/Services/{SERVICE}/Streams/{STREAM}"]
    + [f"/Services/{SERVICE}/Streams/{STREAM}/Messages"] * 4
)
wrong = st.lists(segments, min_size=1, max_size=6).map(lambda parts: "/Services/" + "/".join(parts))
paths = st.one_of(right, right, right, right, wrong).map(lambda path: f"/v1{path}")


def _basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


def authorizations(good: str) -> st.SearchStrategy[bytes]:
    """`good`: a pair that is right; most requests bring it."""
    bad = [b"", b"Basic", b"Basic !", b"Basic " + b"=" * 9, b"Bearer x", b"Basic \xff", b"Basic " + b"A" * 5_000]
    bad += map(_basic, ("", ":", "AC:", good[:-1], good.upper(), "SK" + good[2:], "AC" + "0" * 32 + ":x", "é:é", "\x00:\x00"))
    return st.sampled_from([_basic(good)] * 8 * len(bad) + bad)


@st.composite
def attempts(draw: st.DrawFn, good: str) -> Attempt:
    """Nothing that is there is ever deleted or left without its name: only new things may be."""
    path = draw(paths)
    method = draw(st.sampled_from(["POST"] * 12 + ["GET"] * 4 + [*METHODS]))
    if method == "DELETE" and path in (f"/v1/Services/{SERVICE}", f"/v1/Services/{SERVICE}/Streams/{STREAM}"):
        method = "PUT"
    query = b"&".join(_escaped(name) + b"=" + _escaped(value) for name, value in draw(_pairs(QUERIES)))
    return Attempt(
        method=method,
        path=path,
        key="",
        query=query if draw(st.booleans()) else b"",
        headers=(
            (b"Authorization", draw(authorizations(good))),
            (b"Content-Type", draw(content_types)),
            *(header for header in draw(headers) if header[0] not in (b"Authorization", b"Host")),
        ),
        body=draw(bodies) if method in ("POST", "PUT", "PATCH") else b"",
        framing=draw(st.sampled_from(["length"] * 8 + ["chunked", "absent", "short", "long"])),
    )
