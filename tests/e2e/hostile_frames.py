"""What a client may send on a connection that it has opened as a WebSocket, and ways to open one badly."""

import struct

from hypothesis import strategies as st

from .hostile_requests import header_values, queries

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
OVERSIZED = 64 * 1024 + 1
UPGRADE = {
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
}
MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True, claims: int = 0) -> bytes:
    """`claims`: bytes that the frame announces beyond those it has."""
    length = len(payload) + claims
    head = bytes([fin << 7 | reserved << 4 | opcode])
    mask_bit = masked << 7
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 2**16:
        head += struct.pack("!BH", mask_bit | 126, length)
    else:
        head += struct.pack("!BQ", mask_bit | 127, length)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


payloads = st.one_of(
    st.binary(max_size=130),
    st.text(max_size=40).map(str.encode),
    st.sampled_from(
        [b"", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\x00", b"x" * 125, b"x" * 126, b"\x03\xe8", b"\x00\x00", b"x" * 65_536]
    ),
)
frames = st.builds(
    frame,
    st.one_of(st.sampled_from([TEXT, TEXT, BINARY, PING, PONG, CONTINUATION, CLOSE]), st.integers(0, 15)),
    payloads,
    fin=st.sampled_from([True, True, False]),
    reserved=st.sampled_from([0, 0, 0, 0, 1, 4, 7]),
    masked=st.sampled_from([True, True, True, True, False]),
    claims=st.sampled_from([0, 0, 0, 0, 1, 70_000, 2**62]),
)
fragmented = st.lists(payloads, min_size=2, max_size=4).map(
    lambda pieces: (
        frame(TEXT, pieces[0], fin=False)
        + b"".join(frame(CONTINUATION, piece, fin=False) for piece in pieces[1:-1])
        + frame(CONTINUATION, pieces[-1])
    )
)
oversized = st.sampled_from(
    [frame(TEXT, b"x" * OVERSIZED), frame(BINARY, b"", claims=OVERSIZED), frame(TEXT, b"", claims=2**63 - 1)]
)
conversations = st.lists(st.one_of(frames, frames, fragmented, oversized, st.binary(max_size=40)), max_size=5).map(b"".join)


@st.composite
def handshakes(draw: st.DrawFn) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The query and the headers with which a socket is asked for: mostly well."""
    headers = dict(UPGRADE)
    if draw(st.integers(0, 3)) == 0:
        headers[draw(st.sampled_from(sorted(headers)))] = draw(header_values)
    more = draw(st.sampled_from([b"Origin", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"X-USER-KEY"]))
    if draw(st.booleans()):
        headers[more] = draw(header_values)
    query = draw(st.one_of(st.just(b""), st.just(b"last_id=0&hello=1"), queries))
    return b"transport=websocket&" + query, list(headers.items())
