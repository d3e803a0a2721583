"""Secrets in the admin: each is shown once, on a page of its own, and then only replaced.

Between the POST that makes a secret and the page that shows it, it waits sealed in the session, and the page takes it
out. It is never part of a URL, of a message on the next page, or of the record of who did what.
"""

from typing import Any

from django import forms
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst

from channels_app.core.credentials import Secret, seal, unseal

from .scope import ObjectTools

SESSION_KEY = "secret_to_show"


def keep(request: HttpRequest, obj: Model, text: str) -> None:
    """Have the object's next secret page show this."""
    request.session[SESSION_KEY] = {"of": [obj._meta.label, obj.pk], "sealed": seal(text)}


def take(request: HttpRequest, obj: Model) -> str | None:
    """What was kept for the object, once. Something kept for another one is dropped."""
    kept = request.session.pop(SESSION_KEY, None)
    return unseal(kept["sealed"]) if kept and kept["of"] == [obj._meta.label, obj.pk] else None


class SecretAdmin(ObjectTools):
    """Mixed into the ModelAdmin of something that has a secret: pages to show it once and to replace it."""

    secret_name: str
    secret_note: str = ""  # what else there is to know of it where it is shown
    renew_label: str
    renew_warning: str
    renew_form: type[forms.Form] = forms.Form

    def renew(self, obj: Any, **choices: Any) -> tuple[Secret, str]:
        """Replace the object's secret, with what `renew_form` asked for; and say what was done, for the record."""
        raise NotImplementedError

    def warning(self, obj: Any) -> str:
        """What renewing the object's secret does."""
        return self.renew_warning

    def beside(self, obj: Any) -> dict[str, str]:
        """What a client needs beside the secret, by what it is called: no secrets, shown each time."""
        return {}

    def get_urls(self) -> list[URLPattern]:
        def named(page: str, view: Any) -> URLPattern:
            return path(f"<path:object_id>/{page}/", self.admin_site.admin_view(view), name=self._url_name(page))

        return [named("secret", self.secret_view), named("renew", self.renew_view), *super().get_urls()]

    def _url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def _url(self, page: str, obj: Model) -> str:
        return reverse(f"admin:{self._url_name(page)}", args=[obj.pk])

    def object_tools(self, obj: Any) -> list[tuple[str, str]]:
        return [(self.renew_label, self._url("renew", obj)), *super().object_tools(obj)]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # One button: what comes next is the secret's page, whatever the button.
        one = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**one, **(extra_context or {})})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(self._url("secret", obj))

    def secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self._object_or_404(request, object_id)
        title = f"{capfirst(self.secret_name)} of {obj}"
        return self._page(request, obj, "secret", title, secret=take(request, obj), beside=self.beside(obj))

    def renew_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self._object_or_404(request, object_id)
        form = self.renew_form(request.POST) if request.method == "POST" else self.renew_form()
        if not form.is_valid():
            title = f"{self.renew_label}: {obj}"
            return self._page(request, obj, "renew", title, form=form, warning=self.warning(obj))
        with transaction.atomic():
            secret, done = self.renew(obj, **form.cleaned_data)
            self.log_change(request, obj, done)
        keep(request, obj, secret.text)
        return HttpResponseRedirect(self._url("secret", obj))

    def _object_or_404(self, request: HttpRequest, object_id: str) -> Any:
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_change_permission(request, obj):
            raise Http404
        return obj

    def _page(self, request: HttpRequest, obj: Model, page: str, title: str, **context: Any) -> HttpResponse:
        context |= {"title": title, "opts": self.opts, "original": obj, "page": self, "renew_url": self._url("renew", obj)}
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, f"admin/{page}.html", context)


class RevocableAdmin(SecretAdmin):
    """Mixed into the ModelAdmin of a key: to delete it is to revoke it."""

    def revoke(self, obj: Any) -> None:
        raise NotImplementedError

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = f"Revoke this {self.opts.verbose_name}?"
        return super().delete_view(request, object_id, {"title": title, **(extra_context or {})})

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        listed, counts, lacking, kept = super().get_deleted_objects(objs, request)
        return listed, {**counts, "open connections": "closed within a second"}, lacking, kept

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.revoke(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for key in queryset:
            self.revoke(key)
