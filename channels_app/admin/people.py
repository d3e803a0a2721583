"""The users of an instance and their groups."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from channels_app.core import tenancy
from channels_app.core.credentials import Secret, unseal
from channels_app.models import Group, InstanceUser, Membership

from . import secret
from .fields import LowerCaseField, named_with_instance
from .scope import ScopedAdmin, ScopedInline, visible_to

IN_GROUP = "groups__id__exact"  # limits the list of users to those in a group


class MembershipFormSet(BaseInlineFormSet):
    def save_new(self, form: forms.ModelForm, commit: bool = True) -> Membership:
        return tenancy.add_to_group(self.instance, form.cleaned_data["group"])


class MembershipInline(ScopedInline, admin.TabularInline):
    """A user's groups, of the same instance. Memberships come and go; none is changed into another."""

    model = Membership
    formset = MembershipFormSet
    extra = 0
    max_num = tenancy.MAX_GROUPS_PER_USER

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_formset(self, request: HttpRequest, obj: InstanceUser | None = None, **kwargs: Any) -> type[BaseInlineFormSet]:
        formset = super().get_formset(request, obj, validate_max=True, **kwargs)
        group = formset.form.base_fields["group"]
        if obj is not None and isinstance(group, forms.ModelChoiceField):
            group.queryset = Group.objects.filter(instance=obj.instance_id)
        return formset


class InstanceUserForm(forms.ModelForm):
    new_password = forms.CharField(
        label="Password",
        max_length=128,
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = InstanceUser
        fields = ("instance", "username", "profile")
        field_classes = {"username": LowerCaseField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance.pk is None
        self.fields["new_password"].required = is_new
        self.fields["new_password"].help_text = "" if is_new else "Empty: it stays as it is."


@admin.register(InstanceUser)
class InstanceUserAdmin(secret.SecretAdmin, ScopedAdmin):
    secret_name = "user key"  # noqa: S105  (what it is called)
    renew_label = "Reset user key"
    renew_warning = "The user gets a new key. The old one stops at once, and its connections are closed."

    form = InstanceUserForm
    list_display = ("username", "instance", "key", "created_at")
    list_filter = (("instance", admin.RelatedOnlyFieldListFilter),)
    list_select_related = ("instance",)
    search_fields = ("username", "instance__name")
    autocomplete_fields = ("instance",)
    fields = ("instance", "username", "new_password", "profile", "key")
    readonly_fields = ("key",)
    inlines = (MembershipInline,)

    @admin.display(description="user key")
    def key(self, obj: InstanceUser) -> str:
        return f"{obj.key_prefix}…" if obj.key_prefix else "shown once it is saved"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        group = _group_asked_for(request)
        context = {"title": f"Members of {named_with_instance(group)}", "group": group} if group else {}
        return super().changelist_view(request, context | (extra_context or {}))

    def get_inlines(self, request: HttpRequest, obj: InstanceUser | None) -> Any:
        return self.inlines if obj else ()  # which groups there are is known when the instance is

    def make(self, request: HttpRequest, values: dict[str, Any]) -> InstanceUser:
        user = tenancy.create_user(values.pop("instance"), password=values.pop("new_password"), **values)
        secret.keep(request, user, unseal(user.key_sealed))
        return user

    def save_model(self, request: HttpRequest, obj: InstanceUser, form: forms.ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and form.cleaned_data["new_password"]:
            tenancy.set_password(obj, form.cleaned_data["new_password"])

    def renew(self, obj: InstanceUser, **choices: Any) -> tuple[Secret, str]:
        return tenancy.reset_user_key(obj), "Reset the user key."


def _group_asked_for(request: HttpRequest) -> Group | None:
    """The one whose members the list of users is limited to, if it is."""
    groups = visible_to(request.user, Group.objects.select_related("instance"))
    try:
        found: Group | None = forms.ModelChoiceField(groups, required=False).clean(request.GET.get(IN_GROUP))
    except ValidationError:
        return None
    return found


class GroupForm(forms.ModelForm):
    class Meta:
        model = Group
        fields = ("instance", "name", "label", "description")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not (values.get("name") or values.get("label")):  # the API takes a group without, and so do its clients
            raise ValidationError("Enter a name or a label: lists show it.")
        return values


@admin.register(Group)
class GroupAdmin(ScopedAdmin):
    form = GroupForm
    list_display = ("__str__", "instance", "description")
    list_filter = (("instance", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "label", "instance__name")
    autocomplete_fields = ("instance",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).select_related("instance")  # suggestions name it, too

    def object_tools(self, obj: Group) -> list[tuple[str, str]]:
        query = urlencode({IN_GROUP: obj.pk})
        return [("Members", f"{reverse('admin:channels_app_instanceuser_changelist')}?{query}")]
