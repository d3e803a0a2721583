"""Publishing a message to a stream, whichever front it came in by (wire/twilio.md §4)."""

from channels_app.conf import conf
from channels_app.core import directory, publishing, throttling
from channels_app.core.credentials import Credentials
from channels_app.core.directory import ChannelInfo, InstanceInfo
from channels_app.core.permissions import authorize_publish
from channels_app.core.principals import Principal
from channels_app.core.token_bucket import Limit
from channels_app.core.types import Draft, Message

from . import auth, sids, streams


def admit(asked: Credentials, service_ref: str, stream_ref: str) -> tuple[InstanceInfo, Principal, ChannelInfo]:
    """Who wants to publish there, and where that is. Raises, the first that holds: InvalidKey, NotFound (service, stream)."""
    service = auth.service(auth.account(asked), service_ref)
    return service, directory.resolve(asked, service), streams.find_channel(service, stream_ref)


def publish(principal: Principal, channel: ChannelInfo, stream_ref: str, draft: Draft) -> Message:
    """`stream_ref`: the stream as the client calls it. Raises Throttled, and as `publishing.publish`."""
    authorize_publish(principal, channel)  # first: what is refused takes no token
    throttling.check_channel(channel, limit(), too_many(stream_ref))
    return publishing.publish(principal, channel, draft).message


async def apublish(principal: Principal, channel: ChannelInfo, stream_ref: str, draft: Draft) -> Message:
    """`publish` for coroutines: waits without a thread."""
    authorize_publish(principal, channel)
    await throttling.acheck_channel(channel, limit(), too_many(stream_ref))
    return (await publishing.apublish(principal, channel, draft)).message


def message_json(channel: ChannelInfo, message: Message) -> bytes:
    """The answer to a publish."""
    return f'{{"sid":"{sids.message_sid(channel.uuid, message)}","data":{message.payload}}}'.encode()


def limit() -> Limit:
    """Of the messages to one stream."""
    return Limit(conf.TWILIO_STREAM_RATE, conf.TWILIO_STREAM_BURST)


def too_many(stream_ref: str) -> str:
    """What is said to who exceeds it."""
    return f"Rate limit exceeded for publish-stream-{stream_ref}"
