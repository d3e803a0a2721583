"""Users, groups and who is in which (wire/syncano.md §6)."""

from typing import Any

from rest_framework import serializers

from channels_app.core.credentials import masked
from channels_app.core.tenancy import set_password
from channels_app.models import Group, InstanceUser, Membership

from .fields import UNIQUE, InstanceRelatedField, ObjectField, RowSerializer


class GroupSerializer(RowSerializer):
    links = serializers.SerializerMethodField()

    class Meta:
        model = Group
        fields = ["id", "name", "label", "description", "links"]

    def get_links(self, group: Group) -> dict[str, str]:
        self_link = f"{self.instance_link}groups/{group.pk}/"
        return {"self": self_link, "users": f"{self_link}users/"}


class UserSerializer(RowSerializer):
    """A user; the key is in full only where the view hands it in (`secret` in the context)."""

    username = serializers.CharField(max_length=64)
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True, required=False)
    profile = ObjectField(required=False)
    groups = GroupSerializer(many=True, read_only=True)
    user_key = serializers.SerializerMethodField(help_text="In full for who logs in or just made it; else its first digits.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = InstanceUser
        fields = ["id", "username", "password", "profile", "groups", "user_key", "links"]

    def validate_username(self, username: str) -> str:
        taken = InstanceUser.objects.filter(instance_id=self.context["instance"].id, username=username.lower())
        if (taken.exclude(pk=self.instance.pk) if self.instance else taken).exists():
            raise serializers.ValidationError(UNIQUE)
        return username.lower()

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        password = validated_data.pop("password", None)
        user = super().update(instance, validated_data)
        if password is not None:
            set_password(instance, password)
        return user

    def get_user_key(self, user: InstanceUser) -> str:
        secret: str | None = self.context.get("secret")
        return secret or masked(user.key_prefix)

    def get_links(self, user: InstanceUser) -> dict[str, str]:
        self_link = f"{self.instance_link}users/{user.pk}/"
        return {"self": self_link, "groups": f"{self_link}groups/", "reset_key": f"{self_link}reset_key/"}


class NewUserSerializer(UserSerializer):
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class UserLoginSerializer(serializers.Serializer[Any]):
    username = serializers.CharField()
    password = serializers.CharField(trim_whitespace=False)


class GroupMemberSerializer(RowSerializer):
    """A membership seen from the group: `{"user": {...}}`."""

    user = UserSerializer(read_only=True)
    links = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ["user", "links"]

    def get_links(self, membership: Membership) -> dict[str, str]:
        return {"self": f"{self.instance_link}groups/{membership.group_id}/users/{membership.user_id}/"}


class UserGroupSerializer(RowSerializer):
    """A membership seen from the user: `{"group": {...}}`."""

    group = GroupSerializer(read_only=True)
    links = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ["group", "links"]

    def get_links(self, membership: Membership) -> dict[str, str]:
        return {"self": f"{self.instance_link}users/{membership.user_id}/groups/{membership.group_id}/"}


class NewGroupMemberSerializer(serializers.Serializer[Any]):
    user = InstanceRelatedField(queryset=InstanceUser.objects.all())


class NewUserGroupSerializer(serializers.Serializer[Any]):
    group = InstanceRelatedField(queryset=Group.objects.all())
