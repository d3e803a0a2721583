"""What the forms say: what a field does, which clock a time is on, what cannot be changed."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from .conftest import BASE, Tenant


@pytest.mark.parametrize("model", ["apikey", "channel"])
def test_every_field_says_what_it_does_and_in_no_code_name(owner: Client, rivia: Tenant, model: str) -> None:
    for page in (f"{BASE}/{model}/add/", f"{rivia.page(model)}/change/"):
        fields = owner.get(page).context["adminform"].form.fields
        assert [name for name, field in fields.items() if not field.help_text] == []
        assert [name for name, field in fields.items() if "_permissions" in field.help_text] == []


def test_a_new_key_says_that_it_works_only_beside_a_user_key_unless_it_ignores_permissions(
    owner: Client, rivia: Tenant
) -> None:
    assert "beside a user key" in owner.get(f"{BASE}/apikey/add/").context["adminform"].form.fields["ignore_acl"].help_text


def test_every_page_says_that_its_times_are_in_utc(owner: Client, rivia: Tenant) -> None:
    for page in ("/admin/", f"{BASE}/channel/", f"{rivia.page('apikey')}/change/", f"{rivia.page('apikey')}/history/"):
        assert "Times are in UTC." in owner.get(page).content.decode()
    assert "UTC" in owner.get(f"{BASE}/channel/add/").context["adminform"].form.fields["expires_at"].help_text


def test_an_end_in_the_past_speaks_of_delete_only_where_there_is_one(owner: Client, rivia: Tenant) -> None:
    day = (timezone.now() - timedelta(days=1)).date()
    form = {"instance": rivia.instance.pk, "name": "late", "type": "default", "group_permissions": "none"}
    form |= {"other_permissions": "none", "expires_at_0": day, "expires_at_1": "00:00:00"}
    for page, has_delete in ((f"{BASE}/channel/add/", False), (f"{rivia.page('channel')}/change/", True)):
        [error] = owner.post(page, form).context["adminform"].form.errors["expires_at"]
        assert error.startswith("This time is over.")
        assert ("Delete" in error) is has_delete


def test_what_is_fixed_says_so_before_and_after_it_is_chosen(owner: Client, rivia: Tenant) -> None:
    for name in ("instance", "name", "type"):
        new, made = (
            owner.get(page).context["adminform"].form.fields[name]
            for page in (f"{BASE}/channel/add/", f"{rivia.page('channel')}/change/")
        )
        assert (new.disabled, made.disabled) == (False, True)
        assert new.help_text.endswith("It cannot be changed later.")
        assert made.help_text == "It cannot be changed."


def test_renaming_an_instance_is_warned_of_where_it_is_done(owner: Client, rivia: Tenant) -> None:
    new, made = (
        owner.get(page).context["adminform"].form.fields["name"].help_text
        for page in (f"{BASE}/instance/add/", f"{rivia.page('instance')}/change/")
    )
    assert "A new name changes every URL" not in new
    assert "A new name changes every URL" in made


def test_an_instance_leads_to_everything_in_it(owner: Client, rivia: Tenant) -> None:
    page = owner.get(f"{rivia.page('instance')}/change/").content.decode()
    for model in ("channel", "apikey", "instanceuser", "group"):
        assert f'href="{BASE}/{model}/?instance__id__exact={rivia.instance.pk}"' in page


def test_every_page_leads_to_the_documentation_of_the_api_and_none_to_bare_json(owner: Client, rivia: Tenant) -> None:
    for page in ("/admin/", f"{BASE}/channel/"):
        shown = owner.get(page).content.decode()
        assert '<a href="/api/docs/">API documentation</a>' in shown
        assert 'href="/"' not in shown
