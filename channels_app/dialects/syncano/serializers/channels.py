"""Channels (wire/syncano.md §7), and for the API's documentation the shapes of messages (§8-§10)."""

from typing import Any

from rest_framework import serializers

from channels_app.models import Channel, Group
from channels_app.models.validators import validate_channel_name

from .. import links
from .fields import UNIQUE, Date, InstanceRelatedField, ObjectField, RowSerializer

_TYPES_BY_NUMBER = {"0": Channel.Type.DEFAULT, "1": Channel.Type.SEPARATE_ROOMS}


class ChannelTypeField(serializers.ChoiceField):
    """Older clients number the types."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(_TYPES_BY_NUMBER.get(str(data), data))


class ChannelSerializer(RowSerializer):
    """A channel; its name and type can be chosen only when it is made."""

    group = InstanceRelatedField(queryset=Group.objects.all(), required=False, allow_null=True)
    group_permissions = serializers.ChoiceField(Channel.Permission.choices, default=Channel.Permission.NONE)
    other_permissions = serializers.ChoiceField(Channel.Permission.choices, default=Channel.Permission.NONE)
    custom_publish = serializers.BooleanField(default=False, help_text="Clients may publish to it.")
    created_at = Date()
    updated_at = Date()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Channel
        fields = [
            "name",
            "description",
            "type",
            "group",
            "group_permissions",
            "other_permissions",
            "created_at",
            "updated_at",
            "custom_publish",
            "links",
        ]
        read_only_fields = ["name", "type"]

    def get_links(self, channel: Channel) -> dict[str, str]:
        self_link = links.channel(self.context["version"], self.context["instance"].name, channel.name)
        found = {"self": self_link} | {part: f"{self_link}{part}/" for part in ("poll", "publish", "history")}
        if channel.group_id is not None:
            found["group"] = f"{self.instance_link}groups/{channel.group_id}/"
        return found


class NewChannelSerializer(ChannelSerializer):
    name = serializers.CharField(max_length=64, validators=[validate_channel_name])
    type = ChannelTypeField(Channel.Type.choices, default=Channel.Type.DEFAULT)

    class Meta(ChannelSerializer.Meta):
        read_only_fields: list[str] = []

    def validate_name(self, name: str) -> str:
        if Channel.objects.filter(instance_id=self.context["instance"].id, name=name.lower()).exists():
            raise serializers.ValidationError(UNIQUE)
        return name.lower()


# Messages are written by `encoding`; these describe them.


class PublishBody(serializers.Serializer[Any]):
    payload = ObjectField(required=False, help_text="The message: an object, or a string that holds one as JSON.")
    room = serializers.CharField(required=False, max_length=128, help_text="Required on a separate_rooms channel.")


class LiveMessage(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="1, 2, 3… in the channel, without a gap.")
    created_at = serializers.DateTimeField()
    action = serializers.CharField()
    author = ObjectField()
    metadata = ObjectField()
    payload = ObjectField()


class PublishedMessage(LiveMessage):
    room = serializers.CharField(allow_null=True)
    links = ObjectField()


class MessagePage(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    prev = serializers.CharField(allow_null=True)
    objects = PublishedMessage(many=True)


class Detail(serializers.Serializer[Any]):
    detail = serializers.CharField()
