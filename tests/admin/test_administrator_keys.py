"""Further keys of an account: whose they are, what is shown of them, and what stops with them."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from channels_app.core import directory, tenancy
from channels_app.core.credentials import Credentials, digest
from channels_app.core.errors import InvalidKey
from channels_app.dialects.twilio import sids
from channels_app.models import AdministratorKey

from .conftest import BASE, Tenant, logged_in
from .test_secret import SECRET, everything_recorded, shown

LIST = f"{BASE}/administratorkey/"


def add_key(client: Client, **more: str) -> tuple[AdministratorKey, str]:
    """A key that was made in the admin, and its secret."""
    secret, _ = shown(client, client.post(f"{LIST}add/", {"description": "mobile", **more}))
    return AdministratorKey.objects.get(digest=digest(secret)), secret


def account_of(key: AdministratorKey, secret: str) -> int | None:
    """Whose account a request with that key acts in. Raises InvalidKey."""
    directory.forget()
    return directory.resolve(Credentials.of_account_key(key.uuid, secret), None).administrator_id


def test_an_administrators_new_key_acts_for_their_account_and_is_shown_once(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{LIST}add/", {"description": "mobile"})
    secret, url = shown(owner, response)
    key = AdministratorKey.objects.get(description="mobile")
    assert account_of(key, secret) == rivia.owner.pk
    assert secret not in owner.get(url).content.decode() + everything_recorded(owner)


def test_the_page_of_the_secret_has_what_a_client_needs_beside_it_each_time(owner: Client, rivia: Tenant) -> None:
    url = f"{rivia.page('administratorkey')}/secret/"
    owner.post(f"{rivia.page('administratorkey')}/renew/")
    for page in (owner.get(url).content.decode() for _ in range(2)):
        assert sids.key_sid(rivia.account_key.uuid) in page
        assert sids.account_sid(rivia.owner.administrator.uuid) in page


def test_lists_and_forms_show_neither_secret_nor_what_is_stored_of_it(owner: Client) -> None:
    key, secret = add_key(owner)
    for page in ("", f"{key.pk}/change/", f"{key.pk}/renew/", f"{key.pk}/history/", f"{key.pk}/delete/"):
        content = owner.get(LIST + page).content.decode()
        assert secret[:8] in content
        assert not any(each in content for each in (secret, key.digest, key.sealed))


def test_nobody_makes_a_key_for_another_with_a_forged_field(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    key, _ = add_key(owner, user=novigrad.owner.username, administrator=str(novigrad.owner.administrator.pk))
    assert key.administrator.user == rivia.owner


def test_nobody_gives_a_key_away_with_a_forged_field(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    forged = {"user": novigrad.owner.username, "administrator": novigrad.owner.administrator.pk, "description": "renamed"}
    owner.post(f"{rivia.page('administratorkey')}/change/", forged)
    rivia.account_key.refresh_from_db()
    assert (rivia.account_key.description, rivia.account_key.administrator.user) == ("renamed", rivia.owner)


def test_a_superuser_makes_keys_for_any_administrator(superuser: Client, rivia: Tenant) -> None:
    key, secret = add_key(superuser, user=rivia.owner.username)
    assert account_of(key, secret) == rivia.owner.pk


def test_a_superuser_is_offered_their_own_account_also_before_it_has_a_key(superuser: Client) -> None:
    assert 'value="root"' in superuser.get(f"{LIST}add/").content.decode()
    key, secret = add_key(superuser, user="root")
    assert account_of(key, secret) == User.objects.get(username="root").pk


@pytest.mark.parametrize("name", ["", "nobody", "nul\0nul", "rivia-user"])
def test_a_key_for_somebody_who_is_no_administrator_is_an_error_of_the_form(
    superuser: Client, rivia: Tenant, name: str
) -> None:
    response = superuser.post(f"{LIST}add/", {"description": "", "user": name})
    assert "user" in response.context["adminform"].form.errors
    assert AdministratorKey.objects.count() == 1


def renew(client: Client, key: AdministratorKey) -> str:
    return shown(client, client.post(f"{LIST}{key.pk}/renew/"))[0]


def test_renewing_stops_the_old_secret_and_keeps_the_sid(owner: Client, rivia: Tenant) -> None:
    key, old = add_key(owner)
    new = renew(owner, key)
    assert account_of(key, new) == rivia.owner.pk
    with pytest.raises(InvalidKey):
        account_of(key, old)


def test_renewing_a_key_stops_no_other_credential(owner: Client, rivia: Tenant) -> None:
    other, secret = add_key(owner)
    account_key = tenancy.reset_account_key(rivia.owner.administrator).text
    api_key = tenancy.rotate_api_key(rivia.key).text
    renew(owner, rivia.account_key)
    assert account_of(other, secret) == rivia.owner.pk
    assert directory.resolve(Credentials.of(account_key), None).administrator_id == rivia.owner.pk
    assert directory.resolve(Credentials.of(api_key), None).api_key_id == rivia.key.pk


def test_resetting_the_account_key_keeps_the_further_ones(owner: Client, superuser: Client, rivia: Tenant) -> None:
    key, secret = add_key(owner)
    superuser.post(f"/admin/auth/user/{rivia.owner.pk}/renew/")
    assert account_of(key, secret) == rivia.owner.pk


def test_a_description_saved_from_an_old_form_does_not_bring_an_old_secret_back(owner: Client, rivia: Tenant) -> None:
    new = renew(owner, rivia.account_key)
    owner.post(f"{rivia.page('administratorkey')}/change/", {"description": "renamed"})
    key = AdministratorKey.objects.get(pk=rivia.account_key.pk)
    assert (key.description, key.digest) == ("renamed", digest(new))


def test_revoking_asks_first_and_then_refuses_the_key(owner: Client) -> None:
    key, secret = add_key(owner)
    assert "Revoke" in owner.get(f"{LIST}{key.pk}/delete/").content.decode()
    assert account_of(key, secret)
    owner.post(f"{LIST}{key.pk}/delete/", {"post": "yes"})
    with pytest.raises(InvalidKey):
        account_of(key, secret)


def test_the_page_tells_when_a_key_was_last_used(owner: Client, rivia: Tenant) -> None:
    key, secret = add_key(owner)
    assert key.last_used_at is None
    account_of(key, secret)
    directory.write_last_used()
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert str(key.last_used_at.year) in owner.get(f"{LIST}{key.pk}/change/").content.decode()


def test_the_account_key_is_called_auth_token_where_it_is_managed(superuser: Client, rivia: Tenant) -> None:
    page = superuser.get(f"/admin/auth/user/{rivia.owner.pk}/change/").content.decode()
    assert sids.account_sid(rivia.owner.administrator.uuid) in page
    assert "AuthToken" in page


def test_a_new_administrators_account_sid_is_beside_the_account_key(superuser: Client) -> None:
    form = {"username": "yennefer", "usable_password": "true", "password1": "lilac-berries", "password2": "lilac-berries"}
    page = superuser.get(superuser.post("/admin/auth/user/add/", form).url).content.decode()
    assert SECRET.search(page)
    assert "AuthToken" in page
    assert sids.account_sid(User.objects.get(username="yennefer").administrator.uuid) in page


def test_the_confirmation_to_delete_an_administrator_counts_their_keys(superuser: Client, rivia: Tenant) -> None:
    page = superuser.get(f"/admin/auth/user/{rivia.owner.pk}/delete/").content.decode()
    assert "administrator keys: 1" in page.lower()


def test_an_owner_who_logs_in_elsewhere_finds_the_same_keys(rivia: Tenant, novigrad: Tenant) -> None:
    page = logged_in(rivia.owner).get(LIST).content.decode()
    assert sids.key_sid(rivia.account_key.uuid) in page
    assert sids.key_sid(novigrad.account_key.uuid) not in page
