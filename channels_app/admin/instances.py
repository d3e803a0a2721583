"""Instances and their collaborators."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from channels_app.core import tenancy
from channels_app.dialects.twilio import services, sids
from channels_app.models import ApiKey, Channel, Collaborator, Group, Instance, InstanceUser, TwilioService

from .fields import AdministratorField, LowerCaseField
from .scope import ScopedAdmin, ScopedInline, count_contents

RENAMING = " A new name changes every URL at once: clients that go on with the old one get 404."


class CollaboratorForm(forms.ModelForm):
    user = AdministratorField()

    class Meta:
        model = Collaborator
        fields = ("user", "role")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["user"] = self.instance.user.get_username()


class CollaboratorInline(ScopedInline, admin.TabularInline):
    model = Collaborator
    form = CollaboratorForm
    extra = 0


class TwilioServiceForm(forms.ModelForm):
    reachability_debouncing_window = forms.IntegerField(
        min_value=services.WINDOW[0],
        max_value=services.WINDOW[-1],
        initial=TwilioService().reachability_debouncing_window,
        label="Debouncing window",
        help_text="Milliseconds.",
    )

    class Meta:
        model = TwilioService
        fields = (
            "webhook_url", "webhooks_from_rest_enabled", "reachability_webhooks_enabled", "acl_enabled",
            "reachability_debouncing_enabled", "reachability_debouncing_window",
        )  # fmt: skip
        labels = {
            "webhook_url": "Webhook URL",
            "webhooks_from_rest_enabled": "Webhooks from REST",
            "reachability_webhooks_enabled": "Reachability webhooks",
            "acl_enabled": "ACL",
            "reachability_debouncing_enabled": "Debouncing",
        }
        help_texts = {
            "webhook_url": "Where the server tells of clients that come and go.",
            "webhooks_from_rest_enabled": "Kept for those who ask, without effect: streams have no webhooks.",
            "reachability_webhooks_enabled": "Tell the webhook URL when a client connects or disconnects.",
            "acl_enabled": "Clients with an access token make, change and remove no streams.",
            "reachability_debouncing_enabled": "Tell of no disconnection that ends within the window.",
        }

    def clean_webhook_url(self) -> str:
        url: str = self.cleaned_data["webhook_url"]
        if url and not services.is_webhook_url(url):
            raise ValidationError(f"Enter {services.WEBHOOK_URL_RULE}.")
        return url


class TwilioServiceInline(ScopedInline, admin.StackedInline):
    """Its settings as a service of Twilio's; an instance that has the defaults needs no row."""

    model = TwilioService
    form = TwilioServiceForm
    min_num, extra = 1, 0  # always there, and saved only when something was changed
    can_delete = False
    verbose_name = "As a Twilio service"


@admin.register(Instance)
class InstanceAdmin(ScopedAdmin):
    fixed_fields = ()
    sid_kind = sids.SERVICE
    list_display = ("name", "owner", "description", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "description")
    autocomplete_fields = ("owner",)
    inlines = (CollaboratorInline, TwilioServiceInline)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser or not tenancy.quota_of_instances(request.user.pk).is_used_up

    def get_exclude(self, request: HttpRequest, obj: Instance | None = None) -> tuple[str, ...]:
        return () if request.user.is_superuser else ("owner",)

    def get_inlines(self, request: HttpRequest, obj: Instance | None) -> Any:
        return self.inlines if obj else (CollaboratorInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Instance | None = None) -> tuple[str, ...]:
        return ("service_sid",) if obj else ()

    @admin.display(description="service SID")
    def service_sid(self, obj: Instance) -> str:
        return sids.service_sid(obj.uuid)

    def get_form(self, request: HttpRequest, obj: Instance | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["field_classes"] = {"name": LowerCaseField}
        kwargs["help_texts"] = {"service_sid": "This instance, for Twilio's SDKs; its friendly name there is the description."}
        form = super().get_form(request, obj, change, **kwargs)
        if change:
            form.base_fields["name"].help_text += RENAMING
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}

    def object_tools(self, obj: Instance) -> list[tuple[str, str]]:
        query = urlencode({"instance__id__exact": obj.pk})
        return [
            (name, f"{reverse(f'admin:channels_app_{model._meta.model_name}_changelist')}?{query}")
            for name, model in (("Channels", Channel), ("API keys", ApiKey), ("Users", InstanceUser), ("Groups", Group))
        ]

    def make(self, request: HttpRequest, values: dict[str, Any]) -> Instance:
        quota = None if request.user.is_superuser else tenancy.quota_of_instances(request.user.pk)
        return tenancy.create_instance(quota=quota, **{"owner": request.user, **values})

    def save_model(self, request: HttpRequest, obj: Instance, form: forms.ModelForm, change: bool) -> None:
        if change and "name" in form.changed_data:
            tenancy.rename_instance(obj, obj.name)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Instance) -> None:
        tenancy.delete_instance(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        for instance in queryset:
            tenancy.delete_instance(instance)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        """Numbers instead of names: an instance may hold a hundred thousand users."""
        return [str(each) for each in objs], {"instances": len(objs), **count_contents("instance", objs)}, set(), []
