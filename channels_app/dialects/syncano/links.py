"""Paths of this wire: absolute, without a host, under the version that the client asked (wire/syncano.md §1, §13)."""

from channels_app.core.directory import ChannelInfo

V1_1, V1 = "v1.1", "v1"


def instance(version: str, name: str) -> str:
    return f"/{version}/instances/{name}/"


def channel(version: str, instance_name: str, name: str) -> str:
    return f"/{version}/instances/{instance_name}/channels/{name}/"


def message(version: str, of: ChannelInfo, message_id: int) -> str:
    return f"{channel(version, of.instance_name, of.name)}history/{message_id}/"
