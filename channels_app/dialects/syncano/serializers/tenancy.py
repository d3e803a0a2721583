"""Accounts, instances and API keys (wire/syncano.md §4-§6)."""

from typing import Any

from django.core.validators import MaxLengthValidator
from rest_framework import serializers

from channels_app.core.credentials import masked
from channels_app.core.principals import FULL, Principal
from channels_app.models import ApiKey, Instance
from channels_app.models.validators import validate_instance_name, validate_metadata

from .. import links
from .fields import UNIQUE, Date, ObjectField, RowSerializer


class LoginSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=150)  # it is the user's name too, which has no more
    password = serializers.CharField(max_length=128, trim_whitespace=False)


class AccountSerializer(serializers.Serializer[Any]):
    """A Django user as the account API shows it."""

    id = serializers.IntegerField(read_only=True)
    email = serializers.CharField(read_only=True)
    first_name = serializers.CharField(read_only=True)
    last_name = serializers.CharField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)
    has_password = serializers.BooleanField(source="has_usable_password", read_only=True)
    metadata = serializers.SerializerMethodField()

    def get_metadata(self, user: Any) -> dict[str, Any]:
        return user.administrator.metadata if hasattr(user, "administrator") else {}


class AccountWithKeySerializer(AccountSerializer):
    """What the login calls answer."""

    account_key = serializers.SerializerMethodField()

    def get_account_key(self, user: Any) -> str:
        return str(self.context["account_key"])


class InstanceSerializer(RowSerializer):
    """An instance; its name can be chosen only when it is made (and by `rename`)."""

    metadata = ObjectField(default=dict, validators=[validate_metadata])
    owner = AccountSerializer(read_only=True)
    created_at = Date()
    updated_at = Date()
    role = serializers.SerializerMethodField(help_text="Of who asks: full, write, read, or api_key.")
    location = serializers.SerializerMethodField(help_text="Where Syncano kept it; empty here.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Instance
        fields = ["name", "description", "owner", "created_at", "updated_at", "role", "location", "metadata", "links"]
        read_only_fields = ["name"]

    def get_role(self, instance: Instance) -> str:
        principal: Principal = self.context["request"].auth
        if principal.api_key_id:
            return "api_key"
        if instance.owner_id == principal.administrator_id:
            return FULL
        return str(getattr(instance, "collaborator_role", principal.role))

    def get_location(self, instance: Instance) -> str:
        return ""

    def get_links(self, instance: Instance) -> dict[str, str]:
        self_link = links.instance(self.context["version"], instance.name)
        parts = ("api_keys", "users", "groups", "channels", "rename")
        return {"self": self_link} | {part: f"{self_link}{part}/" for part in parts}


class InstanceNameField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=5, validators=[MaxLengthValidator(64), validate_instance_name], **options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        name = super().run_validation(data)
        if Instance.objects.filter(name=name.lower()).exists():
            raise serializers.ValidationError(UNIQUE)
        return name.lower()


class NewInstanceSerializer(InstanceSerializer):
    name = InstanceNameField()

    class Meta(InstanceSerializer.Meta):
        read_only_fields: list[str] = []


class RenameSerializer(serializers.Serializer[Any]):
    new_name = InstanceNameField()


class ApiKeySerializer(RowSerializer):
    """A key; its secret is in full only where the view hands it in (`secret` in the context)."""

    api_key = serializers.SerializerMethodField(help_text="In full when it was just made; later its first digits and dots.")
    ignore_acl = serializers.BooleanField(default=False)
    allow_user_create = serializers.BooleanField(default=False)
    allow_group_create = serializers.BooleanField(default=False)
    allow_anonymous_read = serializers.BooleanField(default=False)
    created_at = Date()
    links = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "description",
            "api_key",
            "ignore_acl",
            "allow_user_create",
            "allow_group_create",
            "allow_anonymous_read",
            "created_at",
            "links",
        ]

    def get_api_key(self, key: ApiKey) -> str:
        secret: str | None = self.context.get("secret")
        return secret or masked(key.prefix)

    def get_links(self, key: ApiKey) -> dict[str, str]:
        self_link = f"{self.instance_link}api_keys/{key.pk}/"
        return {"self": self_link, "reset_key": f"{self_link}reset_key/"}
