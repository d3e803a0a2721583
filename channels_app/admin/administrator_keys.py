"""Further keys of an administrator's account, which can be taken away one by one: Twilio's API keys."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from channels_app.core import tenancy
from channels_app.core.credentials import Secret
from channels_app.dialects.twilio import sids
from channels_app.models import AdministratorKey

from . import secret
from .fields import AdministratorField
from .scope import ScopedAdmin


class AdministratorKeyForm(forms.ModelForm):
    class Meta:
        model = AdministratorKey
        fields = ("description",)
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}
        help_texts = {
            "sid": "Twilio's SDKs take it as user name, with the secret as password, or sign access tokens with both.",
            "account_sid": "The account that the key acts for; the SDKs want it beside the key.",
        }


class AnybodysKeyForm(AdministratorKeyForm):
    """A superuser makes keys of others, too."""

    user = AdministratorField()


@admin.register(AdministratorKey)
class AdministratorKeyAdmin(secret.RevocableAdmin, ScopedAdmin):
    secret_name = "secret"  # noqa: S105  (what it is called)
    renew_label = "Renew secret"
    renew_warning = "This key gets a new secret. The old one stops at once, and so do the access tokens signed with it."

    form = AdministratorKeyForm
    fixed_fields = ()
    sid_kind = sids.KEY
    list_display = ("description", "sid", "secret", "administrator", "last_used_at", "created_at")
    list_display_links = ("description", "sid")
    list_select_related = ("administrator__user",)
    search_fields = ("prefix", "description", "administrator__user__username")
    readonly_fields = ("sid", "secret", "account_sid", "administrator", "last_used_at", "created_at")

    @admin.display(description="key SID")
    def sid(self, obj: AdministratorKey) -> str:
        return sids.key_sid(obj.uuid)

    @admin.display(ordering="prefix")
    def secret(self, obj: AdministratorKey) -> str:
        return f"{obj.prefix}…"

    @admin.display(description="account SID")
    def account_sid(self, obj: AdministratorKey) -> str:
        return sids.account_sid(obj.administrator.uuid)

    def get_fields(self, request: HttpRequest, obj: AdministratorKey | None = None) -> tuple[str, ...]:
        if obj is not None:
            return ("description", *self.readonly_fields)
        return ("user", "description") if request.user.is_superuser else ("description",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        if obj is None and request.user.is_superuser:
            kwargs["form"] = AnybodysKeyForm
        return super().get_form(request, obj, change, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"user": request.user, **super().get_changeform_initial_data(request)}

    def beside(self, obj: AdministratorKey) -> dict[str, str]:
        return {"Key SID": self.sid(obj), "Account SID": self.account_sid(obj)}

    def make(self, request: HttpRequest, values: dict[str, Any]) -> AdministratorKey:
        administrator = tenancy.administrator_of(values.pop("user", request.user))
        key, made = tenancy.create_administrator_key(administrator, **values)
        secret.keep(request, key, made.text)
        return key

    def renew(self, obj: AdministratorKey, **choices: Any) -> tuple[Secret, str]:
        return tenancy.renew_administrator_key(obj), "Renewed the secret."

    def revoke(self, obj: AdministratorKey) -> None:
        tenancy.revoke_administrator_key(obj)
