"""Messages as this wire shows them, joined from the JSON texts that are stored: nothing is parsed to be written again."""

import functools
import time
from collections.abc import Collection

from channels_app.core.directory import ChannelInfo
from channels_app.core.types import Message, Receipt
from channels_app.dialects.strict_json import compact

from . import links

DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"  # always six fractional digits: the Python SDK fails on a date without


def timestamp(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{_to_the_second(seconds)}.{fraction:06d}Z"


@functools.lru_cache(maxsize=256)
def _to_the_second(seconds: int) -> str:
    """Messages come close together: most share their second with the one before."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


MESSAGE_FIELDS = ("id", "room", "created_at", "action", "author", "metadata", "payload", "links")


def message_json(
    message: Message,
    channel: ChannelInfo,
    version: str = links.V1_1,
    fields: Collection[str] = MESSAGE_FIELDS,
) -> bytes:
    """The message as publish and history answer it (wire/syncano.md §8)."""
    parts = {
        "id": f'"id":{message.id}',
        "room": f'"room":{compact(message.room) if channel.separate_rooms else "null"}',
        "created_at": f'"created_at":"{timestamp(message.created_at)}"',
        "action": f'"action":"{message.action}"',
        "author": f'"author":{message.author}',
        "metadata": f'"metadata":{message.metadata}',
        "payload": f'"payload":{message.payload}',
        "links": f'"links":{{"self":"{links.message(version, channel, message.id)}"}}',
    }
    if fields is not MESSAGE_FIELDS:
        parts = {name: part for name, part in parts.items() if name in fields}
    return f"{{{','.join(parts.values())}}}".encode()


def receipt_json(receipt: Receipt, channel: ChannelInfo, version: str = links.V1_1) -> bytes:
    """The answer to a publish; one that was a repetition says so."""
    message = message_json(receipt.message, channel, version)
    return message[:-1] + b',"duplicate":true}' if receipt.duplicate else message


def poll_json(message: Message) -> bytes:
    """The message as live delivery shows it (wire/syncano.md §10); made once for all subscribers."""
    encoded = message.encodings.get(poll_json)
    if encoded is None:
        encoded = message.encodings[poll_json] = (
            f'{{"id":{message.id},"created_at":"{timestamp(message.created_at)}","action":"{message.action}",'
            f'"author":{message.author},"metadata":{message.metadata},"payload":{message.payload}}}'
        ).encode()
    return encoded
