"""Who sees and changes what: a superuser everything, any other administrator the instances they own, what is in them, and
the further keys of their own account.

Django's model permissions play no part, so none have to be assigned. What is another's is missing: it is in no list, no
choice, no filter, and its pages answer as those of something that never existed.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError, models
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from channels_app.core import tenancy
from channels_app.core.errors import Conflict
from channels_app.dialects.twilio import sids
from channels_app.models import AdministratorKey, ApiKey, Channel, Group, Instance, InstanceUser

from .fields import ObjectField

IN_AN_INSTANCE = (Channel, ApiKey, InstanceUser, Group)
OWNER_PATHS: dict[type[Model], str] = {
    Instance: "owner",
    AdministratorKey: "administrator__user",
    **dict.fromkeys(IN_AN_INSTANCE, "instance__owner"),
}

ALL_MESSAGES = {"messages": "all"}  # in a confirmation to delete: they are told of, and never counted


def visible_to(user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The rows of `queryset`, of a model in OWNER_PATHS, that this administrator may see and change."""
    return queryset if user.is_superuser else queryset.filter(**{OWNER_PATHS[queryset.model]: user})


def may_change(user: Any, obj: Model | None) -> bool:
    """None stands for the model as a whole: its list, or something new."""
    if obj is None or user.is_superuser:
        return True
    owner_id = attrgetter(f"{OWNER_PATHS[type(obj)].replace('__', '.')}_id")
    return bool(owner_id(obj) == user.pk)


def count_contents(path: str, objs: Any) -> dict[str, Any]:
    """How much would go with `objs`, which `path` leads to from what is in an instance."""
    counts = {
        str(model._meta.verbose_name_plural): model.objects.filter(**{f"{path}__in": objs}).count() for model in IN_AN_INSTANCE
    }
    return counts | ALL_MESSAGES


LOST_RACE = "Somebody else changed the same at this very moment. Nothing of yours was saved: look, and try again."


class ScopedChoices:
    """For a ModelAdmin or an inline: foreign keys offer, and accept, only what the administrator may see."""

    def formfield_for_foreignkey(self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        related = db_field.related_model
        if related in OWNER_PATHS and "queryset" not in kwargs:
            kwargs["queryset"] = visible_to(request.user, related._default_manager.all())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class ScopedInline(ScopedChoices):
    """An inline may do what its parent's page may."""

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may_change(request.user, obj)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


class ObjectTools(admin.ModelAdmin):
    """Links of its own at the top of an object's page; and no Delete at its end, where there is a reason."""

    def object_tools(self, obj: Any) -> list[tuple[str, str]]:
        """(text, URL) each."""
        return []

    def reason_to_keep(self, request: HttpRequest, obj: Any) -> str:
        """Why it is not deleted here, and what to do instead; empty: it may go."""
        return ""

    def kept(self, request: HttpRequest, objs: Any, name: Callable[[Any], str] = str) -> list[str]:
        """What stays of `objs`, and why: the last part of what `get_deleted_objects` returns."""
        return [f"{name(each)}: {reason}" for each in objs if (reason := self.reason_to_keep(request, each))]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj:
            context |= {"object_tools": self.object_tools(obj), "show_delete": not self.reason_to_keep(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)


class ScopedAdmin(ScopedChoices, ObjectTools):
    """The base of every ModelAdmin of this app. New objects are made by `make`, which goes through `core.tenancy`."""

    fixed_fields: tuple[str, ...] = ("instance",)  # chosen when the object is made, never changed
    sid_kind = ""  # of the SIDs, if it has some, by which a search finds it too
    formfield_overrides = {models.JSONField: {"form_class": ObjectField}}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible_to(request.user, super().get_queryset(request))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        uuid = sids.uuid_of(self.sid_kind, search_term.strip()) if self.sid_kind else None
        if uuid is not None:
            return queryset.filter(uuid=uuid), False
        return super().get_search_results(request, queryset, search_term)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff  # asked for the login page too

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may_change(request.user, obj)

    has_change_permission = has_delete_permission = has_view_permission

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        form = super().get_form(request, obj, change=change, **kwargs)
        for field in (form.base_fields[name] for name in self.fixed_fields):
            # Disabled and not read-only: a field that is not in the form takes no part in the check of unique names.
            field.disabled = change
            field.help_text = "It cannot be changed." if change else f"{field.help_text} It cannot be changed later.".strip()
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (IntegrityError, Conflict):  # the form was right when it was checked: somebody else was a moment faster
            self.message_user(request, LOST_RACE, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def make(self, request: HttpRequest, values: dict[str, Any]) -> Model:
        return self.model._default_manager.create(**values)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        if not change:
            vars(obj).update(vars(self.make(request, dict(form.cleaned_data))))
            return
        # Only what was changed: whatever happened to the rest of the row since it was read must stay.
        touched = [field.name for field in obj._meta.concrete_fields if field.name in form.changed_data]
        if touched:
            tenancy.change(obj, **{name: getattr(obj, name) for name in touched})
