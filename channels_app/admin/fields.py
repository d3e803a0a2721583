"""Form fields that the models need and Django has not."""

import json
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

from channels_app.models import Group


class ObjectField(forms.JSONField):
    """A JSON object that every supported database can store; empty means {}."""

    def to_python(self, value: Any) -> Any:
        try:
            parsed = super().to_python(value)
            text = json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError):  # NaN, a lone surrogate, too deep, too many digits
            raise ValidationError("This JSON cannot be stored.") from None
        if parsed is None:
            return {}
        if not isinstance(parsed, dict) or b"\\u0000" in text:
            raise ValidationError("Enter a JSON object, without NUL characters.")
        return parsed

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What is shown again after an error: what was typed, as it was typed."""
        return initial if self.disabled or data is None else InvalidJSONInput(data)


class AdministratorField(forms.ModelChoiceField):
    """Asks for the name: a list to choose from would tell every owner who else is on this server."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            get_user_model()._default_manager.filter(is_active=True),
            label="Administrator",
            to_field_name="username",
            widget=forms.TextInput,
            help_text="Their user name.",
            error_messages={"invalid_choice": "There is no administrator of that name."},
            **kwargs,
        )


class GroupField(forms.ModelChoiceField):
    """Chosen among the groups of several instances, which may have the same names."""

    def label_from_instance(self, obj: Group) -> str:
        return named_with_instance(obj)


def named_with_instance(group: Group) -> str:
    return f"{group.instance} / {group}"


class LowerCaseField(forms.CharField):
    """A name: compared, and stored, in lower case."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).lower()
