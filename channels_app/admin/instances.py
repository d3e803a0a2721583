"""Instances and their collaborators."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from channels_app.conf import conf
from channels_app.core import tenancy
from channels_app.models import ApiKey, Channel, Collaborator, Instance, InstanceUser

from .fields import AdministratorField, LowerCaseField
from .scope import ScopedAdmin, ScopedInline, count_contents


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


@admin.register(Instance)
class InstanceAdmin(ScopedAdmin):
    fixed_fields = ()
    list_display = ("name", "owner", "description", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "description")
    autocomplete_fields = ("owner",)
    inlines = (CollaboratorInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser or Instance.objects.filter(owner=request.user.pk).count() < conf.MAX_INSTANCES

    def get_exclude(self, request: HttpRequest, obj: Instance | None = None) -> tuple[str, ...]:
        return () if request.user.is_superuser else ("owner",)

    def get_form(self, request: HttpRequest, obj: Instance | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["field_classes"] = {"name": LowerCaseField}
        return super().get_form(request, obj, change, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}

    def object_tools(self, obj: Instance) -> list[tuple[str, str]]:
        query = urlencode({"instance__id__exact": obj.pk})
        return [
            (name, f"{reverse(f'admin:channels_app_{model._meta.model_name}_changelist')}?{query}")
            for name, model in (("Channels", Channel), ("API keys", ApiKey), ("Users", InstanceUser))
        ]

    def make(self, request: HttpRequest, values: dict[str, Any]) -> Instance:
        return tenancy.create_instance(**{"owner": request.user, **values})

    def save_model(self, request: HttpRequest, obj: Instance, form: forms.ModelForm, change: bool) -> None:
        if change and "name" in form.changed_data:
            tenancy.rename_instance(obj, obj.name)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Instance) -> None:
        tenancy.delete_instance(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        for instance in queryset:
            tenancy.delete_instance(instance)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Numbers instead of names: an instance may hold a hundred thousand users."""
        return [str(each) for each in objs], {"instances": len(objs), **count_contents("instance", objs)}, set(), []
