"""Administrators: Django's users, with the account key of the account API. For superusers only."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group as DjangoGroup
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from channels_app.core import tenancy
from channels_app.core.credentials import Secret, unseal
from channels_app.dialects.twilio import sids
from channels_app.models import AdministratorKey, Instance

from . import secret
from .scope import count_contents

# "Users" are those inside an instance. No proxy model: the owner of an instance is Django's own user, wherever one is chosen.
User._meta.verbose_name, User._meta.verbose_name_plural = "administrator", "administrators"

admin.site.unregister(User)
admin.site.unregister(DjangoGroup)  # no model permission is looked at here: scope.py

HELP_TEXTS = {
    "account_key": "Twilio's AuthToken, too: it is one secret with two names.",
    "account_sid": "What Twilio's SDKs want beside it, as accountSid or as the user name.",
}

OWN_ACCOUNT = (
    "This is your own account: another superuser can delete it, and with it the instances you own. "
    "To leave, add a superuser, give your instances to another owner, and have that superuser delete this account."
)


@admin.register(User)
class AdministratorAdmin(secret.SecretAdmin, UserAdmin):
    secret_name = "account key"  # noqa: S105  (what it is called)
    secret_note = "Twilio's SDKs call it AuthToken."  # noqa: S105  (the same)
    renew_label = "Reset account key"
    renew_warning = "The administrator gets a new account key, and with it a new Twilio AuthToken. The old one stops at once."

    list_display = ("username", "account_key", "is_active", "is_superuser", "last_login")
    list_filter = ("is_superuser", "is_active")
    list_select_related = ("administrator",)
    filter_horizontal = ()
    readonly_fields = ("account_key", "account_sid", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "account_key", "account_sid")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return bool(request.user.is_superuser)

    has_change_permission = has_delete_permission = has_view_permission

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        return super().get_form(request, obj, change=change, help_texts=HELP_TEXTS, **kwargs)

    def reason_to_keep(self, request: HttpRequest, obj: User) -> str:
        return OWN_ACCOUNT if obj.pk == request.user.pk else ""  # whoever is left can still log in

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        (title, first), *others = super().get_fieldsets(request, obj)
        reason = self.reason_to_keep(request, obj) if obj else ""
        return [(title, {**first, "description": reason}), *others]

    def account_key(self, obj: User) -> str:
        return f"{obj.administrator.key_prefix}…" if hasattr(obj, "administrator") else "none yet"

    @admin.display(description="account SID")
    def account_sid(self, obj: User) -> str:
        return sids.account_sid(obj.administrator.uuid) if hasattr(obj, "administrator") else "none yet"

    def beside(self, obj: User) -> dict[str, str]:
        return {"Account SID": self.account_sid(obj)}

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.is_staff = True  # or they could not come in here
        super().save_model(request, obj, form, change)
        if not change:
            secret.keep(request, obj, unseal(tenancy.administrator_of(obj).key_sealed))

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        tenancy.delete_administrators(User.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        tenancy.delete_administrators(queryset)

    def renew(self, obj: User, **choices: Any) -> tuple[Secret, str]:
        return tenancy.reset_account_key(tenancy.administrator_of(obj)), "Reset the account key."

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        """The instances they own go with them, by name; of what is in those, there are numbers."""
        owned = list(Instance.objects.filter(owner__in=objs).order_by("name").values_list("owner_id", "name"))
        keys = AdministratorKey.objects.filter(administrator__user__in=objs).count()
        counts = {"administrators": len(objs), "administrator keys": keys, "instances": len(owned)}
        counts |= count_contents("instance__owner", objs)
        listed: list[Any] = []  # Django draws a list after a line as what is under it
        for each in objs:
            listed += [str(each), [f"instance {name}" for owner, name in owned if owner == each.pk]]
        return listed, counts, set(), self.kept(request, objs)
