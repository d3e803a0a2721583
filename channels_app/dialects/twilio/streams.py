"""Streams are channels (wire/twilio.md §3): the ones of type `default` that were not made with their instance.

One that was made as a stream has a row of its own beside the channel; any other is named as its channel is. A unique name
that can be a channel's name is the channel's too, so that other dialects find it under it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Q, QuerySet

from channels_app.conf import conf
from channels_app.core import directory, tenancy
from channels_app.core.directory import ChannelInfo, InstanceInfo, channel_info
from channels_app.core.errors import Conflict, NotFound
from channels_app.models import BUILT_IN_CHANNELS, Channel, Instance, TwilioStream
from channels_app.models.twilio import SYSTEM, UNIQUE_NAME_LENGTH
from channels_app.models.validators import validate_channel_name

from . import sids
from .errors import TwilioError
from .fields import integer, timestamp

MAX_TTL = 31_536_000  # a year
CHANNEL_NAME_LENGTH = 64
UNIQUE_NAME_RULE = f"1 to {UNIQUE_NAME_LENGTH} characters, none of them NUL, and not the form of a SID"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as its clients see it."""

    channel: ChannelInfo
    account_sid: str
    service_sid: str
    unique_name: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def uuid(self) -> uuid.UUID:
        return self.channel.uuid

    @property
    def sid(self) -> str:
        return sids.stream_sid(self.channel.uuid)


def as_json(stream: Stream, streams_url: str) -> dict[str, Any]:
    """The ten fields. `streams_url`: where the streams of its service are, as the client reaches them."""
    url = f"{streams_url}/{stream.sid}"
    return {
        "sid": stream.sid,
        "unique_name": stream.unique_name,
        "account_sid": stream.account_sid,
        "service_sid": stream.service_sid,
        "url": url,
        "links": {"messages": f"{url}/Messages"},
        "date_expires": stream.channel.expires_at and timestamp(stream.channel.expires_at),
        "date_created": timestamp(stream.created_at),
        "date_updated": timestamp(stream.updated_at),
        "created_by": stream.created_by,
    }


# Asking


def rows(service: InstanceInfo) -> QuerySet[Channel]:
    found = Channel.objects.filter(instance_id=service.id, type=Channel.Type.DEFAULT).exclude(name__in=BUILT_IN_CHANNELS)
    return found.select_related("twilio_stream", "instance__owner__administrator")


def is_stream(row: Channel) -> bool:
    """Whether it is one of `rows`."""
    return row.type == Channel.Type.DEFAULT and not row.built_in


def unique_name(row: Channel) -> str | None:
    """Of a row of `rows`."""
    made = getattr(row, "twilio_stream", None)
    return made.unique_name if made else row.name


def of_row(row: Channel) -> Stream:
    """A row of `rows`."""
    made = getattr(row, "twilio_stream", None)
    return Stream(
        channel=channel_info(row, row.instance.name),
        account_sid=sids.account_sid(row.instance.owner.administrator.uuid),
        service_sid=sids.service_sid(row.instance.uuid),
        unique_name=unique_name(row),
        created_by=made.created_by if made else SYSTEM,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find(service: InstanceInfo, ref: str) -> Stream:
    """The service's stream of that SID or unique name, as it is now. Raises NotFound."""
    row = _row(service, ref)
    if row is None:
        raise NotFound("stream")
    return of_row(row)


def find_channel(service: InstanceInfo, ref: str) -> ChannelInfo:
    """The same, as far as publishing needs it: remembered for a moment, as all of the directory's answers. Raises NotFound."""

    def load() -> ChannelInfo | None:
        row = _row(service, ref)
        return channel_info(row, row.instance.name) if row else None

    return directory.existing(directory.remember(("stream", service.id, ref), load))


def _row(service: InstanceInfo, ref: str) -> Channel | None:
    stream_uuid = sids.uuid_of(sids.STREAM, ref)
    if stream_uuid is not None:
        return rows(service).filter(uuid=stream_uuid).first()
    if sids.is_sid(ref) or "\x00" in ref or len(ref) > UNIQUE_NAME_LENGTH:
        return None
    found = list(rows(service).filter(Q(twilio_stream__unique_name=ref) | Q(twilio_stream=None, name=ref)))
    # Both when a channel of that name was made elsewhere later: the stream was first.
    return next((row for row in found if hasattr(row, "twilio_stream")), found[0] if found else None)


# Changing


def create(service: InstanceInfo, unique_name: object = None, ttl: object = None, created_by: str = SYSTEM) -> Stream:
    """The two values are as they were sent; None: not sent. Raises TwilioError, Conflict, NotFound (service)."""
    name, lifetime = _unique_name(unique_name), _lifetime(ttl)
    instance = Instance.objects.filter(pk=service.id).first()
    if instance is None:
        raise NotFound("instance")
    if name is not None:
        _free(service, name)
    stream_uuid = uuid.uuid4()
    try:
        row = tenancy.create_channel(
            instance,
            name=_channel_name(service, name) or f"stream-{stream_uuid.hex}",
            uuid=stream_uuid,
            lifetime=lifetime,
            custom_publish=True,
            retention_age=conf.TWILIO_STREAM_RETENTION,
            companion=TwilioStream(instance=instance, unique_name=name, created_by=created_by),
        )
    except IntegrityError:  # somebody else took the name between our look and our write, or the service is gone
        raise Conflict if Instance.objects.filter(pk=service.id).exists() else NotFound("instance") from None
    return find(service, sids.stream_sid(row.uuid))


def update(service: InstanceInfo, stream: Stream, ttl: object) -> Stream:
    """A new time to live, from now on. Raises TwilioError, NotFound."""
    tenancy.set_lifetime(stream.channel.id, _lifetime(ttl))
    return find(service, stream.sid)


def delete(stream: Stream) -> None:
    """Raises NotFound."""
    row = Channel.objects.filter(pk=stream.channel.id).first()
    if row is None:
        raise NotFound("stream")
    tenancy.delete_channel(row)


def _free(service: InstanceInfo, name: str) -> None:
    if _row(service, name) is not None:
        raise Conflict
    # What has expired holds its name until it is swept.
    tenancy.remove_expired(Channel.with_expired.filter(twilio_stream__instance_id=service.id, twilio_stream__unique_name=name))


def _channel_name(service: InstanceInfo, name: str | None) -> str | None:
    """The unique name where it can be the channel's as well."""
    if name is None or name != name.lower() or len(name) > CHANNEL_NAME_LENGTH:
        return None
    try:
        validate_channel_name(name)
    except ValidationError:
        return None
    return None if Channel.objects.filter(instance_id=service.id, name=name).exists() else name


def _unique_name(value: object) -> str | None:
    if value is None:
        return None
    good = isinstance(value, str) and 0 < len(value) <= UNIQUE_NAME_LENGTH and not sids.is_sid(value) and "\x00" not in value
    if not good:
        raise TwilioError(400, 54302, f"Invalid unique name: {UNIQUE_NAME_RULE}")
    return str(value)


def _lifetime(ttl: object) -> timedelta | None:
    """None: for ever."""
    if ttl is None or ttl == "":
        return None
    seconds = integer(ttl)
    if seconds is None or not 0 <= seconds <= MAX_TTL:
        raise TwilioError(400, 54011, f"Invalid TTL: it is a number of seconds from 0 to {MAX_TTL}")
    return timedelta(seconds=seconds) if seconds else None
