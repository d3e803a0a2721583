"""Changes of configuration: what comes into being together, and what becomes of changes to what is gone."""

from datetime import timedelta

import pytest
from django.db import IntegrityError

from channels_app.core import tenancy
from channels_app.core.errors import NotFound
from channels_app.models import Channel, Counter, Instance, TwilioService, TwilioStream


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
