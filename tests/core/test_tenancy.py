"""Changes of configuration: what comes into being together, and what becomes of changes to what is gone."""

from datetime import timedelta

import pytest
from django.db import IntegrityError

from channels_app.core import directory, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.errors import InvalidKey, NotFound
from channels_app.models import AdministratorKey, ApiKey, Channel, Counter, Instance, InstanceUser, TwilioService, TwilioStream


def test_a_dialects_own_row_is_made_with_the_instance_and_the_channel_it_is_about(owner):
    instance = tenancy.create_instance(owner=owner, name="rivia", companion=TwilioService(acl_enabled=True))
    assert instance.twilio_service.acl_enabled
    channel = tenancy.create_channel(instance, name="lobby", companion=TwilioStream(instance=instance, unique_name="Lobby"))
    assert channel.twilio_stream.unique_name == "Lobby"


def test_where_that_row_cannot_be_nothing_is_made(instance):
    tenancy.create_channel(instance, name="lobby", companion=TwilioStream(instance=instance, unique_name="t"))
    before = (Channel.objects.count(), Counter.objects.count())
    with pytest.raises(IntegrityError):
        tenancy.create_channel(instance, name="halls", companion=TwilioStream(instance=instance, unique_name="t"))
    assert (Channel.objects.count(), Counter.objects.count()) == before


def test_a_lifetime_counts_from_the_making(instance):
    channel = tenancy.create_channel(instance, name="lobby", lifetime=timedelta(hours=1))
    channel.refresh_from_db()
    assert channel.expires_at - channel.created_at == timedelta(hours=1)


def test_a_dialects_row_is_made_at_the_first_change_and_changed_at_the_next(instance):
    for changed in ({"webhook_url": "http://example.com/"}, {"acl_enabled": True}):
        tenancy.update_instance(instance, companion=TwilioService, changed=changed, description="a town")
    row = TwilioService.objects.get(instance=instance)
    assert (row.webhook_url, row.acl_enabled) == ("http://example.com/", True)
    assert Instance.objects.get().description == "a town"


def test_an_instance_that_is_gone_can_be_changed_no_more(instance):
    here = Instance.objects.get()
    tenancy.delete_instance(instance)
    for change in (
        lambda: tenancy.delete_instance(here),
        lambda: tenancy.rename_instance(here, "cintra"),
        lambda: tenancy.update_instance(here, companion=TwilioService, changed={"acl_enabled": True}),
    ):
        with pytest.raises(NotFound):
            change()
    assert not Instance.objects.exists()


# A row that somebody read before others changed it


@pytest.fixture
def rows(instance, owner):
    """One of each kind that has a secret, with what replaces its secret."""
    administrator = tenancy.administrator_of(owner)
    return [
        (tenancy.create_api_key(instance, ignore_acl=True)[0], tenancy.rotate_api_key),
        (tenancy.create_administrator_key(administrator)[0], tenancy.renew_administrator_key),
        (tenancy.create_user(instance, username="ciri", password="zireael"), tenancy.reset_user_key),
        (administrator, tenancy.reset_account_key),
    ]


def test_a_new_secret_does_not_bring_back_what_was_deleted(rows):
    for row, replace_secret in rows:
        seen_before = type(row).objects.get(pk=row.pk)
        row.delete()
        with pytest.raises(NotFound):
            replace_secret(seen_before)
        assert not type(row).objects.filter(pk=seen_before.pk).exists()


@pytest.mark.parametrize(
    ("model", "changed"),
    [(ApiKey, {"ignore_acl": False}), (AdministratorKey, {"description": "new"}), (InstanceUser, {"username": "zireael"})],
)
def test_a_new_secret_undoes_no_change(rows, model, changed):
    ((row, replace_secret),) = [each for each in rows if isinstance(each[0], model)]
    model.objects.filter(pk=row.pk).update(**changed)
    replace_secret(row)
    assert model.objects.filter(pk=row.pk, **changed).exists()


def test_of_two_rotations_at_once_the_second_keeps_the_secret_of_the_first(instance):
    row, secret = tenancy.create_api_key(instance)
    seen_before = ApiKey.objects.get(pk=row.pk)
    first = tenancy.rotate_api_key(row)
    second = tenancy.rotate_api_key(seen_before, overlap=timedelta(hours=1))
    for good in (first, second):
        assert directory.resolve(Credentials.of(good.text), None).api_key_id == row.pk
    with pytest.raises(InvalidKey):
        directory.resolve(Credentials.of(secret.text), None)


def test_a_user_that_is_gone_gets_no_password_and_joins_no_group(instance):
    user, group = tenancy.create_user(instance, username="ciri", password="zireael"), instance.groups.create()
    seen_before = InstanceUser.objects.get(pk=user.pk)
    user.delete()
    for change in (lambda: tenancy.set_password(seen_before, "x"), lambda: tenancy.add_to_group(seen_before, group)):
        with pytest.raises(NotFound):
            change()
