"""What the admin makes, renames and deletes, it does through `core.tenancy`."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.test import Client

from channels_app.core import log, tenancy
from channels_app.core.errors import Conflict, NotFound
from channels_app.models import ApiKey, Channel, Counter, Instance, InstanceUser, Membership, Purge

from .conftest import BASE, MODELS, NOTHING_INLINE, Tenant, fill


def instance_form(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "metadata": "{}", **NOTHING_INLINE, **more}


def test_an_owners_new_instance_is_theirs_and_has_the_built_in_channels(owner: Client, rivia: Tenant) -> None:
    assert owner.post(f"{BASE}/instance/add/", instance_form("Kaer-Morhen")).status_code == 302
    made = Instance.objects.get(name="kaer-morhen")
    assert made.owner == rivia.owner
    assert set(made.channels.values_list("name", flat=True)) == {"default", "eventlog"}
    assert LogEntry.objects.get().object_repr == "kaer-morhen"


def test_an_owner_cannot_forge_another_owner(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    owner.post(f"{BASE}/instance/add/", instance_form("kaer-morhen", owner=novigrad.owner.pk))
    owner.post(f"{rivia.page('instance')}/change/", instance_form("rivia", owner=novigrad.owner.pk))
    assert set(rivia.owner.instances.values_list("name", flat=True)) == {"rivia", "kaer-morhen"}


def test_an_owner_has_as_many_instances_as_the_settings_allow(
    owner: Client, superuser: Client, rivia: Tenant, settings
) -> None:
    settings.PUBSUB = {"MAX_INSTANCES": 1}
    assert owner.post(f"{BASE}/instance/add/", instance_form("kaer-morhen")).status_code == 403
    superuser.post(f"{BASE}/instance/add/", instance_form("kaer-morhen", owner=rivia.owner.pk))
    assert rivia.owner.instances.count() == 2


def test_nor_more_when_two_are_made_at_once(owner: Client, rivia: Tenant, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PUBSUB = {"MAX_INSTANCES": 2}
    real = tenancy.create_instance

    def another_was_faster(**values: Any) -> Instance:
        real(owner=rivia.owner, name="temeria")
        return real(**values)

    monkeypatch.setattr(tenancy, "create_instance", another_was_faster)
    assert owner.post(f"{BASE}/instance/add/", instance_form("kaer-morhen")).status_code == 403
    assert not Instance.objects.filter(name="kaer-morhen").exists()


@pytest.mark.parametrize("page", ["change", "renew"])
def test_what_somebody_else_deletes_meanwhile_is_not_found(
    owner: Client, rivia: Tenant, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = tenancy.create_api_key(rivia.instance)
    real = tenancy._locked

    def somebody_else_was_faster(row: Any) -> Any:
        ApiKey.objects.filter(pk=row.pk).delete()
        return real(row)

    monkeypatch.setattr(tenancy, "_locked", somebody_else_was_faster)
    form = {"description": "another", "overlap": "0"}
    assert owner.post(f"{BASE}/apikey/{key.pk}/{page}/", form).status_code == 404, "it is neither changed nor made again"


def test_a_superuser_gives_an_instance_to_its_owner(superuser: Client, rivia: Tenant) -> None:
    superuser.post(f"{BASE}/instance/add/", instance_form("kaer-morhen", owner=rivia.owner.pk))
    assert Instance.objects.get(name="kaer-morhen").owner == rivia.owner


def test_an_instance_is_renamed(owner: Client, rivia: Tenant) -> None:
    owner.post(f"{rivia.page('instance')}/change/", instance_form("Temeria"))
    assert Instance.objects.get(pk=rivia.instance.pk).name == "temeria"


@pytest.mark.parametrize("name", ["", "abc", "9lives", "two--hyphens", "admin", "x" * 65, "nul\0nul", "novigrad", "NOVIGRAD"])
def test_a_wrong_name_is_an_error_of_the_form(owner: Client, rivia: Tenant, novigrad: Tenant, name: str) -> None:
    for page in (f"{BASE}/instance/add/", f"{rivia.page('instance')}/change/"):
        response = owner.post(page, instance_form(name))
        assert "name" in response.context["adminform"].form.errors
    assert Instance.objects.count() == 2


@pytest.mark.parametrize("metadata", ["[]", "1", "{", '{"a": NaN}', '{"a": "\\ud800"}', '{"a": "\\u0000"}', "[" * 100_000])
def test_wrong_metadata_is_an_error_of_the_form(owner: Client, rivia: Tenant, metadata: str) -> None:
    response = owner.post(f"{rivia.page('instance')}/change/", instance_form("rivia", metadata=metadata))
    assert "metadata" in response.context["adminform"].form.errors


def test_deleting_an_instance_takes_its_log_away_and_lists_no_contents(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["a"] * 3)
    page = owner.get(f"{rivia.page('instance')}/delete/").content.decode()
    assert "Channels: 3" in page
    assert "rivia-news" not in page
    owner.post(f"{rivia.page('instance')}/delete/", {"post": "yes"})
    assert not Instance.objects.exists()
    assert Purge.objects.filter(channel_id=rivia.channel.pk).exists()
    with pytest.raises(NotFound):
        log.head(rivia.channel.pk, None)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("instance", "Messages: all"),
        ("channel", "Messages: all"),
        ("apikey", "Open connections: closed within a second"),
        ("administratorkey", "Open connections: closed within a second"),
    ],
)
def test_a_confirmation_says_what_goes_besides(owner: Client, rivia: Tenant, model: str, said: str) -> None:
    selected = {"action": "delete_selected", "_selected_action": rivia.objects[model].pk}
    for response in (owner.get(f"{rivia.page(model)}/delete/"), owner.post(f"{BASE}/{model}/", selected)):
        assert said in response.content.decode()


def test_the_confirmation_to_delete_an_administrator_says_that_messages_go(superuser: Client, rivia: Tenant) -> None:
    assert "Messages: all" in superuser.get(f"/admin/auth/user/{rivia.owner.pk}/delete/").content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_the_selected_are_deleted_and_recorded(owner: Client, rivia: Tenant, model: str) -> None:
    target = rivia.objects[model]
    form = {"action": "delete_selected", "_selected_action": target.pk}
    assert "Are you sure" in owner.post(f"{BASE}/{model}/", form).content.decode()
    owner.post(f"{BASE}/{model}/", form | {"post": "yes"})
    with pytest.raises(ObjectDoesNotExist):
        target.refresh_from_db()
    assert LogEntry.objects.get().is_deletion()


def test_deleting_an_administrator_takes_their_instances_and_logs_away(superuser: Client, rivia: Tenant) -> None:
    superuser.post(f"/admin/auth/user/{rivia.owner.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=rivia.owner.pk).exists()
    assert not Counter.objects.exists()


def test_the_confirmation_to_delete_an_administrator_names_their_instances(
    superuser: Client, rivia: Tenant, novigrad: Tenant
) -> None:
    tenancy.create_instance(owner=rivia.owner, name="kaer-morhen")
    single = superuser.get(f"/admin/auth/user/{rivia.owner.pk}/delete/").content.decode()
    assert "instance rivia" in single
    assert "instance kaer-morhen" in single
    assert "novigrad" not in single
    both = {"action": "delete_selected", "_selected_action": [rivia.owner.pk, novigrad.owner.pk]}
    assert "instance novigrad" in superuser.post("/admin/auth/user/", both).content.decode()


def test_nobody_deletes_their_own_account_and_the_page_says_what_to_do_instead(superuser: Client, rivia: Tenant) -> None:
    own = User.objects.get(username="root")
    page = f"/admin/auth/user/{own.pk}"
    assert f"{page}/delete/" not in superuser.get(f"{page}/change/").content.decode()
    assert (
        f"/admin/auth/user/{rivia.owner.pk}/delete/"
        in superuser.get(f"/admin/auth/user/{rivia.owner.pk}/change/").content.decode()
    )
    selected = {"action": "delete_selected", "_selected_action": [own.pk, rivia.owner.pk], "post": "yes"}
    for response in (
        superuser.get(f"{page}/change/"),
        superuser.get(f"{page}/delete/"),
        superuser.post(f"{page}/delete/", {"post": "yes"}),
        superuser.post("/admin/auth/user/", selected),
    ):
        assert "This is your own account: another superuser can delete it" in response.content.decode()
        assert "related objects" not in response.content.decode()
    assert User.objects.filter(pk__in=[own.pk, rivia.owner.pk]).count() == 2


def channel_form(tenant: Tenant, name: str, **more: object) -> dict[str, object]:
    rights = {"type": "default", "group_permissions": "none", "other_permissions": "none"}
    return {"instance": tenant.instance.pk, "name": name, **rights, **more}


def test_who_loses_a_race_for_a_name_is_told_and_nothing_is_half_made(
    owner: Client, rivia: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = tenancy.create_channel

    def create_twice(instance: Instance, **fields: Any) -> Channel:
        create(instance, **fields)  # the other administrator's, after our form was checked
        return create(instance, **fields)

    monkeypatch.setattr(tenancy, "create_channel", create_twice)
    response = owner.post(f"{BASE}/channel/add/", channel_form(rivia, "witchers"), follow=True)
    assert (response.status_code, "try again" in response.content.decode()) == (200, True)
    assert not Channel.objects.filter(name="witchers").exists()


def test_who_adds_a_user_to_a_group_that_somebody_else_has_just_added_them_to_is_told(
    owner: Client, rivia: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise Conflict("The user is in the group already.")

    monkeypatch.setattr(tenancy, "add_to_group", taken)
    group = rivia.instance.groups.create(name="bards")
    form = {"username": "rivia-user", "profile": "{}", "memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 0}
    response = owner.post(f"{rivia.page('instanceuser')}/change/", form | {"memberships-0-group": group.pk}, follow=True)
    assert (response.status_code, "try again" in response.content.decode()) == (200, True)


def test_a_new_channel_can_be_published_to(owner: Client, rivia: Tenant) -> None:
    owner.post(f"{BASE}/channel/add/", channel_form(rivia, "Witchers"))
    assert log.head(Channel.objects.get(name="witchers").pk, None).last_id == 0


@pytest.mark.parametrize("name", ["", "9", "a b", "rivia-news", "RIVIA-NEWS", "x" * 65])
def test_a_wrong_channel_name_is_an_error_of_the_form(owner: Client, rivia: Tenant, name: str) -> None:
    response = owner.post(f"{BASE}/channel/add/", channel_form(rivia, name))
    assert response.context["adminform"].form.errors
    assert Channel.objects.count() == 3


def test_a_channels_name_and_type_stay(owner: Client, rivia: Tenant) -> None:
    owner.post(f"{rivia.page('channel')}/change/", channel_form(rivia, "other", description="changed"))
    rivia.channel.refresh_from_db()
    assert (rivia.channel.name, rivia.channel.type, rivia.channel.description) == ("rivia-news", "separate_rooms", "changed")


def test_a_built_in_channel_is_not_deleted_and_says_why(owner: Client, rivia: Tenant) -> None:
    built_in = Channel.objects.get(name="default")
    page = f"{BASE}/channel/{built_in.pk}"
    assert f"{page}/delete/" not in owner.get(f"{page}/change/").content.decode()
    selected = {"action": "delete_selected", "_selected_action": [built_in.pk, rivia.channel.pk], "post": "yes"}
    for response in (owner.post(f"{page}/delete/", {"post": "yes"}), owner.post(f"{BASE}/channel/", selected)):
        assert "Built in: it belongs to the instance" in response.content.decode()
    assert Channel.objects.count() == 3


def test_a_username_is_unique_in_its_instance_also_when_changed(owner: Client, rivia: Tenant) -> None:
    tenancy.create_user(rivia.instance, username="ciri", password="x")
    form = {"username": "CIRI", "profile": "{}", "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    response = owner.post(f"{rivia.page('instanceuser')}/change/", form)
    assert response.context["adminform"].form.errors


def test_a_password_is_stored_hashed_and_an_empty_one_keeps_the_old(owner: Client, rivia: Tenant) -> None:
    form = {"username": "rivia-user", "profile": "{}", "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    for given in ("Zireael-1", ""):
        owner.post(f"{rivia.page('instanceuser')}/change/", form | {"new_password": given})
        user = InstanceUser.objects.get(pk=rivia.user.pk)
        assert "Zireael" not in user.password
        assert tenancy.password_matches(user, "Zireael-1")
    assert not any("Zireael" in each.change_message for each in LogEntry.objects.all())


def test_a_group_has_a_name_or_a_label(owner: Client, rivia: Tenant) -> None:
    for page in (f"{BASE}/group/add/", f"{rivia.page('group')}/change/"):
        response = owner.post(page, {"instance": rivia.instance.pk, "description": "nameless"})
        assert response.context["adminform"].form.non_field_errors() == ["Enter a name or a label: lists show it."]
    for named in ({"name": "witchers"}, {"label": "Witchers"}):
        assert owner.post(f"{BASE}/group/add/", {"instance": rivia.instance.pk, **named}).status_code == 302


def members(client: Client, tenant: Tenant) -> str:
    page = client.get(f"{tenant.page('group')}/change/").content.decode()
    [link] = re.findall(r'<a href="([^"]*)">Members</a>', page)
    return client.get(html.unescape(link)).content.decode()


def test_the_members_of_a_group_are_listed_under_its_name_with_where_they_come_from(owner: Client, rivia: Tenant) -> None:
    for is_member in (False, True):
        page = members(owner, rivia)
        assert "<h1>Members of rivia / rivia group</h1>" in page
        assert "Members are added and removed on the page of a user" in page
        assert (f"{rivia.page('instanceuser')}/change/" in page) is is_member
        Membership.objects.get_or_create(user=rivia.user, group=rivia.group)


@pytest.mark.parametrize("group", ["", "x", "0", "-1", "9" * 30, "\0"])
def test_the_members_of_no_group_are_no_defect(owner: Client, rivia: Tenant, group: str) -> None:
    page = owner.get(f"{BASE}/instanceuser/", {"groups__id__exact": group}, follow=True)
    assert page.status_code == 200
    assert "Members of" not in page.content.decode()


def test_anothers_group_is_not_named_above_a_list(owner: Client, novigrad: Tenant) -> None:
    page = owner.get(f"{BASE}/instanceuser/", {"groups__id__exact": novigrad.group.pk}, follow=True)
    assert "novigrad" not in page.content.decode()
