"""Who sees and changes what in the admin."""

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from channels_app.core import tenancy
from channels_app.models import Channel, Collaborator, Group, Instance, InstanceUser, Membership

from .conftest import BASE, MODELS, NOTHING_INLINE, Tenant

ADMINISTRATORS = "/admin/auth/user/"


def text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_an_owner_lists_only_what_is_theirs(owner: Client, novigrad: Tenant, model: str) -> None:
    page = text(owner, f"{BASE}/{model}/")
    assert "rivia" in page
    assert "novigrad" not in page


@pytest.mark.parametrize("model", MODELS)
def test_a_superuser_lists_everything(superuser: Client, rivia: Tenant, novigrad: Tenant, model: str) -> None:
    page = text(superuser, f"{BASE}/{model}/")
    assert "rivia" in page
    assert "novigrad" in page


def test_an_owner_opens_every_page_of_what_is_theirs(owner: Client, rivia: Tenant) -> None:
    for model in MODELS:
        for view in ("change", "history", "delete"):
            assert owner.get(f"{rivia.page(model)}/{view}/").status_code == 200, model


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("view", ["change", "history", "delete"])
def test_what_is_anothers_answers_as_what_never_existed(owner: Client, novigrad: Tenant, model: str, view: str) -> None:
    pk = str(novigrad.objects[model].pk)
    foreign, missing = (owner.get(f"{BASE}/{model}/{each}/{view}/", follow=True) for each in (pk, "999999"))
    assert foreign.redirect_chain == missing.redirect_chain == [("/admin/", 302)]
    told, expected = ([str(each) for each in response.context["messages"]] for response in (foreign, missing))
    assert [each.replace(pk, "999999") for each in told] == expected


@pytest.mark.parametrize("model", ["apikey", "instanceuser", "administratorkey"])
@pytest.mark.parametrize("view", ["secret", "renew"])
def test_the_secret_of_what_is_anothers_is_missing(owner: Client, novigrad: Tenant, model: str, view: str) -> None:
    assert owner.get(f"{novigrad.page(model)}/{view}/").status_code == 404
    assert owner.post(f"{novigrad.page(model)}/{view}/", {"overlap": "0"}).status_code == 404


@pytest.mark.parametrize("view", ["change", "delete", "renew"])
def test_a_post_to_what_is_anothers_changes_nothing(owner: Client, novigrad: Tenant, view: str) -> None:
    before = (novigrad.key.digest, novigrad.account_key.digest)
    for model in MODELS:
        owner.post(
            f"{novigrad.page(model)}/{view}/", {"post": "yes", "overlap": "0", "name": "stolen", "description": "stolen"}
        )
    novigrad.instance.refresh_from_db()
    novigrad.key.refresh_from_db()
    novigrad.account_key.refresh_from_db()
    assert (novigrad.instance.name, novigrad.key.description) == ("novigrad", "novigrad key")
    assert novigrad.account_key.description == "novigrad account key"
    assert (novigrad.key.digest, novigrad.account_key.digest) == before


@pytest.mark.parametrize("model", MODELS)
def test_a_forged_delete_of_the_selected_spares_what_is_anothers(owner: Client, novigrad: Tenant, model: str) -> None:
    owner.post(f"{BASE}/{model}/", {"action": "delete_selected", "_selected_action": novigrad.objects[model].pk, "post": "yes"})
    assert type(novigrad.objects[model]).objects.filter(pk=novigrad.objects[model].pk).exists()


def new_object(model: str, instance: Instance) -> dict[str, object]:
    """A form that makes something in the instance."""
    return {
        "channel": {"name": "forged", "type": "default", "group_permissions": "none", "other_permissions": "none"},
        "apikey": {"description": "forged"},
        "instanceuser": {"username": "forged", "new_password": "x", "profile": "{}"},
        "group": {"label": "forged"},
    }[model] | {"instance": instance.pk}


@pytest.mark.parametrize("model", ["channel", "apikey", "instanceuser", "group"])
def test_a_forged_instance_is_no_choice(owner: Client, novigrad: Tenant, model: str) -> None:
    before = type(novigrad.objects[model])._default_manager.count()
    response = owner.post(f"{BASE}/{model}/add/", new_object(model, novigrad.instance))
    assert "instance" in response.context["adminform"].form.errors
    assert type(novigrad.objects[model])._default_manager.count() == before


@pytest.mark.parametrize("model", ["channel", "apikey", "instanceuser", "group"])
def test_an_owner_makes_things_in_their_own_instance(owner: Client, rivia: Tenant, model: str) -> None:
    response = owner.post(f"{BASE}/{model}/add/", new_object(model, rivia.instance))
    assert response.status_code == 302, response.context["adminform"].form.errors


def test_an_instance_cannot_be_moved_by_a_forged_field(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    owner.post(f"{rivia.page('group')}/change/", {"instance": novigrad.instance.pk, "label": "renamed"})
    rivia.group.refresh_from_db()
    assert (rivia.group.label, rivia.group.instance_id) == ("renamed", rivia.instance.pk)


def channel_form(**values: object) -> dict[str, object]:
    return {"group_permissions": "none", "other_permissions": "none", **values}


def test_a_channel_takes_no_group_of_anothers_instance(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    response = owner.post(f"{rivia.page('channel')}/change/", channel_form(group=novigrad.group.pk))
    assert "group" in response.context["adminform"].form.errors


def test_a_channel_takes_no_group_of_another_instance_even_from_a_superuser(
    superuser: Client, rivia: Tenant, novigrad: Tenant
) -> None:
    response = superuser.post(f"{rivia.page('channel')}/change/", channel_form(group=novigrad.group.pk))
    assert response.context["adminform"].form.errors["group"] == ["This group belongs to another instance."]


def memberships_form(user: InstanceUser, *groups: Group) -> dict[str, object]:
    form: dict[str, object] = {"username": user.username, "profile": "{}"}
    form |= {"memberships-TOTAL_FORMS": len(groups), "memberships-INITIAL_FORMS": 0}
    return form | {f"memberships-{index}-group": group.pk for index, group in enumerate(groups)}


def test_a_user_joins_a_group_of_the_same_instance(owner: Client, rivia: Tenant) -> None:
    owner.post(f"{rivia.page('instanceuser')}/change/", memberships_form(rivia.user, rivia.group))
    assert Membership.objects.filter(user=rivia.user, group=rivia.group).exists()


def test_a_user_cannot_join_a_group_of_another_instance(superuser: Client, rivia: Tenant, novigrad: Tenant) -> None:
    superuser.post(f"{rivia.page('instanceuser')}/change/", memberships_form(rivia.user, novigrad.group))
    assert not Membership.objects.exists()


def test_a_user_joins_a_group_once(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{rivia.page('instanceuser')}/change/", memberships_form(rivia.user, rivia.group, rivia.group))
    assert response.status_code == 200
    assert not Membership.objects.exists()


def test_a_user_leaves_a_group(owner: Client, rivia: Tenant) -> None:
    membership = tenancy.add_to_group(rivia.user, rivia.group)
    form = memberships_form(rivia.user) | {"memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 1}
    row = {"memberships-0-id": membership.pk, "memberships-0-user": rivia.user.pk, "memberships-0-DELETE": "on"}
    assert owner.post(f"{rivia.page('instanceuser')}/change/", form | row).status_code == 302
    assert not Membership.objects.exists()


def test_a_user_joins_only_so_many_groups(owner: Client, rivia: Tenant) -> None:
    labels = range(tenancy.MAX_GROUPS_PER_USER + 1)
    groups = Group.objects.bulk_create(Group(instance=rivia.instance, label=str(label)) for label in labels)
    page = f"{rivia.page('instanceuser')}/change/"
    assert owner.post(page, memberships_form(rivia.user, *groups)).status_code == 200
    assert not Membership.objects.exists()
    assert owner.post(page, memberships_form(rivia.user, *groups[1:])).status_code == 302
    assert Membership.objects.count() == tenancy.MAX_GROUPS_PER_USER


def test_suggestions_while_typing_are_limited_too(owner: Client, novigrad: Tenant) -> None:
    query = {"app_label": "channels_app", "model_name": "channel"}
    instances = owner.get("/admin/autocomplete/", {**query, "field_name": "instance"}).json()["results"]
    groups = owner.get("/admin/autocomplete/", {**query, "field_name": "group"}).json()["results"]
    assert [each["text"] for each in instances] == ["rivia"]
    assert [each["text"] for each in groups] == ["rivia / rivia group"]


def test_a_channels_group_is_named_with_its_instance(owner: Client, rivia: Tenant) -> None:
    assert "rivia / rivia group" not in text(owner, f"{rivia.page('channel')}/change/")
    Channel.objects.filter(pk=rivia.channel.pk).update(group=rivia.group)
    assert "rivia / rivia group" in text(owner, f"{rivia.page('channel')}/change/")


def test_suggested_groups_cost_no_query_each(owner: Client, rivia: Tenant) -> None:
    query = {"app_label": "channels_app", "model_name": "channel", "field_name": "group"}
    with CaptureQueriesContext(connection) as few:
        owner.get("/admin/autocomplete/", query)
    Group.objects.bulk_create(Group(instance=rivia.instance, label=str(number)) for number in range(10))
    with CaptureQueriesContext(connection) as many:
        assert len(owner.get("/admin/autocomplete/", query).json()["results"]) == 11
    assert len(many) == len(few)


def test_a_collaborator_is_named_and_not_chosen_from_a_list(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    page = f"{rivia.page('instance')}/change/"
    assert novigrad.owner.username not in text(owner, page)
    form = {"name": "rivia", "metadata": "{}", **NOTHING_INLINE, "collaborators-TOTAL_FORMS": 1}
    row = {"collaborators-0-user": novigrad.owner.username, "collaborators-0-role": "write"}
    assert owner.post(page, form | row).status_code == 302
    assert Collaborator.objects.get(instance=rivia.instance).user == novigrad.owner
    assert novigrad.owner.username in text(owner, page)


def test_an_unknown_collaborator_is_an_error_of_the_form(owner: Client, rivia: Tenant) -> None:
    form = {"name": "rivia", "metadata": "{}", **NOTHING_INLINE, "collaborators-TOTAL_FORMS": 1}
    response = owner.post(
        f"{rivia.page('instance')}/change/", form | {"collaborators-0-user": "nobody", "collaborators-0-role": "read"}
    )
    assert "There is no administrator of that name." in response.content.decode()


def test_only_superusers_see_administrators(owner: Client, superuser: Client, rivia: Tenant) -> None:
    assert "rivia-owner" in text(superuser, ADMINISTRATORS)
    assert owner.get(ADMINISTRATORS).status_code == 403
    assert owner.get(f"{ADMINISTRATORS}{rivia.owner.pk}/change/").status_code == 403
    assert owner.get(f"{ADMINISTRATORS}{rivia.owner.pk}/renew/").status_code == 404
    assert "Administrators" not in text(owner, "/admin/")


def test_administrators_are_called_so_on_all_their_pages(superuser: Client, rivia: Tenant) -> None:
    one = f"{ADMINISTRATORS}{rivia.owner.pk}/"
    superuser.post(f"{one}renew/")
    for page, said in (
        ("/admin/", '<span class="mini quiet">Administrator</span>'),
        (ADMINISTRATORS, "Select administrator to change"),
        (f"{ADMINISTRATORS}add/", "Add administrator"),
        (f"{ADMINISTRATORS}add/", "Next come the account key"),
        (f"{one}change/", "Change administrator"),
        (f"{one}delete/", "delete the administrator"),
        (f"{one}history/", '<a href="/admin/auth/user/">Administrators</a>'),
    ):
        assert said in text(superuser, page)


def test_who_is_not_staff_does_not_come_in(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("visitor"))
    for page in ("", "channels_app/instance/", "channels_app/message/"):
        assert client.get(f"/admin/{page}").url.startswith("/admin/login/")


def test_the_login_page_tells_nothing(client: Client, db: None) -> None:
    assert "Instances" not in text(client, "/admin/login/")


def test_no_page_has_a_script_of_its_own(owner: Client, rivia: Tenant) -> None:
    pages = ["/admin/", f"{BASE}/message/?channel=rivia/rivia-news", f"{rivia.page('apikey')}/secret/"]
    pages += [f"{rivia.page('apikey')}/renew/", *(f"{rivia.page(model)}/change/" for model in MODELS)]
    for page in pages:
        assert not re.findall(r"<script(?![^>]*\ssrc=)|\son[a-z]+=|javascript:", text(owner, page)), page
