"""Secrets in the admin: shown once, replaced, revoked; and kept out of every record."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client
from django.utils import timezone

from channels_app.core import directory
from channels_app.core.credentials import Credentials, digest
from channels_app.core.errors import InvalidKey
from channels_app.models import ApiKey, InstanceUser

from .conftest import BASE, Tenant

SECRET = re.compile(r'id="secret" value="([0-9a-f]{40})"')
WARNING = "cannot be shown again"


def shown(client: Client, response) -> tuple[str, str]:
    """The secret on the page that the answer to a form leads to, and that page's URL."""
    page = client.get(response.url)
    assert WARNING in page.content.decode()
    return SECRET.search(page.content.decode())[1], response.url


def add_key(client: Client, tenant: Tenant) -> tuple[str, str]:
    return shown(client, client.post(f"{BASE}/apikey/add/", {"instance": tenant.instance.pk, "description": "mobile"}))


def everything_recorded(client: Client) -> str:
    """What the sessions, the acts and the cookies hold, as text."""
    sessions = [json.dumps(each.get_decoded()) for each in Session.objects.all()]
    return "\n".join([*sessions, serializers.serialize("json", LogEntry.objects.all()), str(client.cookies)])


def test_a_new_keys_secret_works_and_is_shown_once(owner: Client, rivia: Tenant) -> None:
    secret, url = add_key(owner, rivia)
    assert directory.resolve(Credentials.of(secret), None).instance_id == rivia.instance.pk
    again = owner.get(url).content.decode()
    assert secret not in again
    assert WARNING in again


def test_a_secret_is_in_no_url_session_message_or_record(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{BASE}/apikey/add/", {"instance": rivia.instance.pk, "description": "mobile"})
    before = everything_recorded(owner)
    secret, url = shown(owner, response)
    assert secret not in before + url + everything_recorded(owner)
    assert "secret_to_show" not in owner.session


def test_the_page_of_a_secret_is_not_cached(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{BASE}/apikey/add/", {"instance": rivia.instance.pk, "description": ""})
    assert "no-store" in owner.get(response.url)["Cache-Control"]


def test_another_objects_page_does_not_show_the_secret(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{BASE}/apikey/add/", {"instance": rivia.instance.pk, "description": ""})
    assert not SECRET.search(owner.get(f"{rivia.page('apikey')}/secret/").content.decode())
    assert not SECRET.search(owner.get(response.url).content.decode())


def test_lists_and_forms_show_the_prefix_only(owner: Client, rivia: Tenant) -> None:
    secret, _ = add_key(owner, rivia)
    key = ApiKey.objects.get(digest=digest(secret))
    for page in ("", f"{key.pk}/change/", f"{key.pk}/history/", f"{key.pk}/delete/"):
        content = owner.get(f"{BASE}/apikey/{page}").content.decode()
        assert secret[:8] in content
        assert secret not in content
        assert key.digest not in content


def rotate(client: Client, key: ApiKey, overlap: str) -> str:
    return shown(client, client.post(f"{BASE}/apikey/{key.pk}/renew/", {"overlap": overlap}))[0]


@pytest.mark.parametrize("seconds", [3600, 86400, 604800])
def test_the_old_secret_works_on_during_the_overlap(owner: Client, rivia: Tenant, seconds: int) -> None:
    old, _ = add_key(owner, rivia)
    key = ApiKey.objects.get(digest=digest(old))
    new = rotate(owner, key, str(seconds))
    directory.forget()
    assert directory.resolve(Credentials.of(old), None).api_key_id == key.pk
    assert directory.resolve(Credentials.of(new), None).api_key_id == key.pk
    key.refresh_from_db()
    assert abs(key.previous_expires_at - timezone.now() - timedelta(seconds=seconds)) < timedelta(minutes=1)


def test_without_an_overlap_the_old_secret_stops(owner: Client, rivia: Tenant) -> None:
    old, _ = add_key(owner, rivia)
    rotate(owner, ApiKey.objects.get(digest=digest(old)), "0")
    directory.forget()
    with pytest.raises(InvalidKey):
        directory.resolve(Credentials.of(old), None)


@pytest.mark.parametrize("overlap", ["", "1", "-3600", "x", "\0"])
def test_an_overlap_that_is_no_choice_rotates_nothing(owner: Client, rivia: Tenant, overlap: str) -> None:
    assert owner.post(f"{rivia.page('apikey')}/renew/", {"overlap": overlap}).status_code == 200
    assert ApiKey.objects.get(pk=rivia.key.pk).digest == rivia.key.digest


def test_the_rotation_page_warns_of_an_older_secret_only_while_there_is_one(owner: Client, rivia: Tenant) -> None:
    page = f"{rivia.page('apikey')}/renew/"
    warning = "still works"
    assert warning not in owner.get(page).content.decode()
    rotate(owner, rivia.key, "3600")
    assert warning in owner.get(page).content.decode()
    ApiKey.objects.update(previous_expires_at=timezone.now())
    assert warning not in owner.get(page).content.decode()


def test_looking_at_the_rotation_page_rotates_nothing_and_is_no_act(owner: Client, rivia: Tenant) -> None:
    owner.get(f"{rivia.page('apikey')}/renew/")
    assert ApiKey.objects.get(pk=rivia.key.pk).digest == rivia.key.digest
    assert not LogEntry.objects.exists()


def test_a_description_saved_from_an_old_form_does_not_bring_an_old_secret_back(owner: Client, rivia: Tenant) -> None:
    new = rotate(owner, rivia.key, "0")
    owner.post(f"{rivia.page('apikey')}/change/", {"description": "renamed"})
    key = ApiKey.objects.get(pk=rivia.key.pk)
    assert (key.description, key.digest) == ("renamed", digest(new))


def test_revoking_asks_first_and_then_refuses_the_key(owner: Client, rivia: Tenant) -> None:
    secret, _ = add_key(owner, rivia)
    key = ApiKey.objects.get(digest=digest(secret))
    assert "Revoke" in owner.get(f"{BASE}/apikey/{key.pk}/delete/").content.decode()
    assert ApiKey.objects.filter(pk=key.pk).exists()
    owner.post(f"{BASE}/apikey/{key.pk}/delete/", {"post": "yes"})
    directory.forget()
    with pytest.raises(InvalidKey):
        directory.resolve(Credentials.of(secret), None)


def test_a_new_users_key_is_shown_once(owner: Client, rivia: Tenant) -> None:
    form = {"instance": rivia.instance.pk, "username": "Ciri", "new_password": "Zireael", "profile": ""}
    secret, url = shown(owner, owner.post(f"{BASE}/instanceuser/add/", form))
    assert InstanceUser.objects.get(key_digest=digest(secret)).username == "ciri"
    assert secret not in owner.get(url).content.decode() + everything_recorded(owner)


def test_a_user_key_is_reset(owner: Client, rivia: Tenant) -> None:
    secret, _ = shown(owner, owner.post(f"{rivia.page('instanceuser')}/renew/"))
    rivia.user.refresh_from_db()
    assert rivia.user.key_digest == digest(secret)


def test_a_new_administrator_is_staff_and_their_account_key_is_shown_once(superuser: Client) -> None:
    form = {"username": "yennefer", "usable_password": "true", "password1": "lilac-berries", "password2": "lilac-berries"}
    secret, url = shown(superuser, superuser.post("/admin/auth/user/add/", form))
    user = User.objects.get(username="yennefer")
    assert (user.is_staff, user.is_superuser) == (True, False)
    assert user.administrator.key_digest == digest(secret)
    assert secret not in superuser.get(url).content.decode() + everything_recorded(superuser)


def test_an_account_key_is_reset(superuser: Client, rivia: Tenant) -> None:
    secret, _ = shown(superuser, superuser.post(f"/admin/auth/user/{rivia.owner.pk}/renew/"))
    assert directory.resolve(Credentials.of(secret), None).administrator_id == rivia.owner.pk


def test_every_act_on_a_secret_is_recorded(owner: Client, superuser: Client, rivia: Tenant) -> None:
    add_key(owner, rivia)
    rotate(owner, rivia.key, "3600")
    owner.post(f"{rivia.page('instanceuser')}/renew/")
    superuser.post(f"/admin/auth/user/{rivia.owner.pk}/renew/")
    owner.post(f"{rivia.page('apikey')}/delete/", {"post": "yes"})
    acts = [(each.user.username, each.get_change_message()) for each in LogEntry.objects.order_by("pk")]
    assert acts == [
        ("rivia-owner", "Added."),
        ("rivia-owner", "Rotated; the old key works on for: 1 hour."),
        ("rivia-owner", "Reset the user key."),
        ("root", "Reset the account key."),
        ("rivia-owner", ""),
    ]
    assert LogEntry.objects.latest("pk").is_deletion()
