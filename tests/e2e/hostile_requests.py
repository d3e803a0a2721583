"""Requests that should not be, over every route of the API: what to send is drawn here, what must hold is in `test_hostile`."""

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from hypothesis import strategies as st

from .hostile_values import entities, texts
from .routes import Route, routes

SPARE = "spare-instance"  # may be changed and destroyed; the other one's messages are counted
METHODS = ("HEAD", "OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
HARMLESS = ("GET", "HEAD", "OPTIONS")
ELSEWHERE = (
    "/",
    "/v1.1",
    "/v1.1/nowhere/",
    "/v1/",
    "/v1/Nope",
    "/v1/Services",
    "/v1/Services/demo-instance/Streams",
    "/v1.1//",
    "/v3/wsconnect",
    "/api/schema/",
    "/admin/",
    "/admin/login/",
    "/api/docs/",
    "/livez",
    "/readyz",
    "/metrics",
    "/static/",
    "/static/..%2f..%2fmanage.py",
)
JUNK = (
    quote("\x00"),
    "%ff",
    "%ED%A0%80",
    "%",
    "%2F",
    "..",
    "x" * 65,
    "x" * 9_000,
    "LOBBY",
    "0",
    "-1",
    "9" * 30,
    "9" * 5_000,
    "%EF%BC%91",
)
T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One request. `key` names one of the target's keys, or is what stands in a key's place.

    `framing`: how the body is announced. `length` and `chunked` are honest; `absent`: not at all; `long`, `short`: by a
    Content-Length that is wrong.
    """

    method: str
    path: str
    key: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    framing: str = "length"

    @property
    def must_be_answered(self) -> bool:
        """Who announces more than is sent, and hangs up, goes without."""
        return self.framing != "long"

    def encode(self, key: str) -> bytes:
        target = self.path.encode() + (b"?" + self.query if self.query else b"")
        headers = [(b"Connection", b"close"), *self.headers, *_framing(self.framing, self.body)]
        if key:
            headers.append((b"X-API-KEY", key.encode("latin-1", "replace")))
        if not any(name == b"Host" for name, _ in headers):
            headers.append((b"Host", b"127.0.0.1"))
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), target), *(b"%b: %b" % header for header in headers)]
        body = _chunks(self.body) if self.framing == "chunked" else self.body
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _framing(framing: str, body: bytes) -> list[tuple[bytes, bytes]]:
    if framing == "absent":
        return []
    if framing == "chunked":
        return [(b"Transfer-Encoding", b"chunked")]
    length = len(body) + {"length": 0, "long": 10, "short": -1 if body else 0}[framing]
    return [(b"Content-Length", str(length).encode())]


def _chunks(body: bytes) -> bytes:
    pieces = [body[start : start + 7_000] for start in range(0, len(body), 7_000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


header_values = st.one_of(
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"",
            b"0",
            b"-1",
            b"9" * 400,
            b"\xff\xfe",
            b"x" * 70_000,
            b"*/*",
            b"text/event-stream",
            b"bytes=0-1",
            b'sessionid="aaaaaaaa\\000"',
        ]
    ),
).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
header_names = st.sampled_from(
    b"X-API-KEY X-USER-KEY Authorization Idempotency-Key Last-Event-ID Accept Origin Host Cookie Range Expect If-None-Match"
    b" Content-Encoding X-HTTP-Method-Override X-Forwarded-For Access-Control-Request-Method Upgrade X-Anything".split()
)
headers = st.lists(st.tuples(header_names, header_values), max_size=3)

query_names = st.sampled_from(
    [
        *(
            "last_id",
            "page_size",
            "last_pk",
            "direction",
            "ordering",
            "fields",
            "excluded_fields",
            "room",
            "transport",
            "hello",
        ),
        *("api_key", "user_key", "epoch", "name__startswith", "format"),
    ]
)
query_values = st.one_of(
    texts.map(lambda text: quote(text.encode("utf-8", "surrogatepass")).encode()),
    st.sampled_from(
        [b"0", b"1", b"-1", b"2", b"100", b"9" * 30, b"9" * 5_000, b"asc", b"desc", b"id,payload", b"%00", b"%ff", b"%zz"]
    ),
    st.sampled_from([b"sse", b"websocket", b"lobby", b"1.5", b"1e3", b"%D9%A1", b"+1", b"%2B1", b"\xc3\xa9"]),
)
queries = st.lists(st.tuples(query_names, query_values), max_size=3).map(
    lambda pairs: b"&".join(name.encode() + b"=" + value for name, value in pairs)
)
STRONG, WEAK = ("account", "account", "api"), ("plain", "none", "0" * 39 + "1", "0" * 40, "é\x7f", "x" * 5_000)


def _seldom(unusual: st.SearchStrategy[T], usual: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """A request that is wrong everywhere is refused at the first check: most of it is right."""
    return st.integers(0, 9).flatmap(lambda number: usual if number else unusual)


def _names(route: Route, watched: str) -> st.SearchStrategy[dict[str, str]]:
    """Ids are small numbers, which the spare instance's things have."""
    known = {
        "instance": st.sampled_from([watched, watched, SPARE, SPARE, SPARE.upper()]),
        "channel": st.sampled_from(["lobby", "lobby", "halls", "default", "eventlog", "fresh-name", "nowhere"]),
        "message": st.integers(1, 30).map(str),
    }
    ids = st.integers(1, 12).map(str)
    return st.fixed_dictionaries({name: _seldom(st.sampled_from(JUNK), known.get(name, ids)) for name in route.parameters})


def _attempts_on(route: Route, watched: str) -> st.SearchStrategy[Attempt]:
    methods = _seldom(st.sampled_from(METHODS), st.sampled_from([method.upper() for method in route.methods]))

    @st.composite
    def attempt(draw: st.DrawFn) -> Attempt:
        method, names = draw(methods), draw(_names(route, watched))
        # Only who cannot may change what is counted.
        tame = method in HARMLESS or names.get("instance") != watched or route.path.endswith("/publish/")
        takes_body = method in ("POST", "PUT", "PATCH")
        content_type, body = draw(entities if takes_body else _seldom(entities, st.just((None, b""))))
        typed = [] if content_type is None else [(b"Content-Type", content_type)]
        return Attempt(
            method=method,
            path=route.filled(names),
            key=draw(_seldom(st.sampled_from(WEAK), st.sampled_from(STRONG)) if tame else st.sampled_from(WEAK)),
            query=draw(queries),
            headers=(*typed, *draw(_seldom(headers, st.just([])))),
            body=body,
            framing=draw(_seldom(st.sampled_from(["chunked", "absent", "short", "long"]), st.just("length"))),
        )

    return attempt()


def attempts(watched: str) -> st.SearchStrategy[Attempt]:
    """`watched`: the instance that nobody but the test itself may change."""
    publish = [route for route in routes() if route.path.endswith("/publish/")]
    elsewhere = [Route(path, ("get", "post")) for path in ELSEWHERE]
    weighted = [*routes(), *publish * 8, *elsewhere]
    return st.sampled_from(weighted).flatmap(lambda route: _attempts_on(route, watched))
