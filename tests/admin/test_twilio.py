"""Instances as Twilio's services and channels as its streams, in the admin."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from channels_app.core import directory, tenancy
from channels_app.core.errors import NotFound
from channels_app.dialects.twilio import sids
from channels_app.models import Channel, TwilioService, TwilioStream

from .conftest import BASE, NOTHING_INLINE, Tenant

DEFAULT_WINDOW = "5000"


def service_form(**settings: str) -> dict[str, object]:
    """The page of an instance, with these settings of its service."""
    row = {"webhook_url": "", "reachability_debouncing_window": DEFAULT_WINDOW} | settings
    inline = {f"twilio_service-0-{name}": value for name, value in row.items()}
    return {"name": "rivia", "metadata": "{}", **NOTHING_INLINE, "twilio_service-TOTAL_FORMS": 1, **inline}


def save_service(client: Client, tenant: Tenant, **settings: str):
    return client.post(f"{tenant.page('instance')}/change/", service_form(**settings))


def test_an_instance_tells_its_service_sid(owner: Client, rivia: Tenant) -> None:
    assert sids.service_sid(rivia.instance.uuid) in owner.get(f"{rivia.page('instance')}/change/").content.decode()


def test_an_instance_that_is_not_there_yet_has_none(owner: Client) -> None:
    assert "service SID" not in owner.get(f"{BASE}/instance/add/").content.decode()


def test_settings_that_stay_the_defaults_make_no_row(owner: Client, rivia: Tenant) -> None:
    assert save_service(owner, rivia).status_code == 302
    assert not TwilioService.objects.exists()


def test_the_settings_of_a_service_are_saved(owner: Client, rivia: Tenant) -> None:
    given = {"webhook_url": "http://hooks:8080/sync", "reachability_webhooks_enabled": "on"}
    assert save_service(owner, rivia, **given, reachability_debouncing_window="1000").status_code == 302
    made = TwilioService.objects.get(instance=rivia.instance)
    assert (made.webhook_url, made.reachability_webhooks_enabled) == ("http://hooks:8080/sync", True)
    assert (made.acl_enabled, made.reachability_debouncing_window) == (False, 1000)


@pytest.mark.parametrize(
    "url", ["hooks", "ftp://hooks/x", "http://", "http://a b/", "http://a/" + "x" * 512, "http://[", "a\0b"]
)
def test_a_webhook_url_that_twilios_api_refuses_is_an_error_of_the_form(owner: Client, rivia: Tenant, url: str) -> None:
    response = save_service(owner, rivia, webhook_url=url)
    assert response.status_code == 200
    assert "webhook_url" in response.context["inline_admin_formsets"][1].formset.errors[0]
    assert not TwilioService.objects.exists()


@pytest.mark.parametrize("window", ["", "999", "30001", "1e4", "x"])
def test_a_window_that_twilios_api_refuses_is_an_error_of_the_form(owner: Client, rivia: Tenant, window: str) -> None:
    response = save_service(owner, rivia, reachability_debouncing_window=window)
    assert "reachability_debouncing_window" in response.context["inline_admin_formsets"][1].formset.errors[0]


def test_the_settings_of_anothers_service_stay(owner: Client, rivia: Tenant, novigrad: Tenant) -> None:
    theirs = TwilioService.objects.create(instance=novigrad.instance, webhook_url="https://novigrad.example/")
    save_service(owner, novigrad, webhook_url="https://rivia.example/")
    forged = {"twilio_service-INITIAL_FORMS": 1, "twilio_service-0-instance": novigrad.instance.pk}
    owner.post(f"{rivia.page('instance')}/change/", service_form(webhook_url="https://rivia.example/") | forged)
    theirs.refresh_from_db()
    assert theirs.webhook_url == "https://novigrad.example/"


def page_of(client: Client, channel: Channel) -> str:
    return client.get(f"{BASE}/channel/{channel.pk}/change/").content.decode()


def test_a_stream_tells_its_sid_and_its_unique_name(owner: Client, rivia: Tenant) -> None:
    made = TwilioStream(instance=rivia.instance, unique_name="client:agent.7")
    channel = tenancy.create_channel(rivia.instance, name="stream-7", companion=made)
    page = page_of(owner, channel)
    assert sids.stream_sid(channel.uuid) in page
    assert "client:agent.7" in page


def test_a_channel_that_was_made_elsewhere_is_a_stream_by_its_own_name(owner: Client, rivia: Tenant) -> None:
    channel = tenancy.create_channel(rivia.instance, name="heatmap")
    page = page_of(owner, channel)
    assert sids.stream_sid(channel.uuid) in page
    assert page.count("heatmap") > page_of(owner, rivia.channel).count("rivia-news")


def test_a_stream_without_a_unique_name_says_so(owner: Client, rivia: Tenant) -> None:
    companion = TwilioStream(instance=rivia.instance, unique_name=None)
    channel = tenancy.create_channel(rivia.instance, name="stream-7", companion=companion)
    assert '<div class="readonly">(none)</div>' in page_of(owner, channel)


def test_what_is_no_stream_has_no_stream_sid(owner: Client, rivia: Tenant) -> None:
    for channel in (rivia.channel, Channel.objects.get(name="default"), Channel.objects.get(name="eventlog")):
        assert sids.stream_sid(channel.uuid) not in page_of(owner, channel)


def channel_form(**values: object) -> dict[str, object]:
    return {"group_permissions": "none", "other_permissions": "none", **values}


def until(days: int) -> dict[str, str]:
    """What the page sends for a channel that is deleted so many days from now."""
    date, time = str((timezone.now() + timedelta(days=days)).replace(microsecond=0, tzinfo=None)).split()
    return {"expires_at_0": date, "expires_at_1": time}


def test_a_channel_is_given_an_end_and_loses_it_again(owner: Client, rivia: Tenant) -> None:
    page = f"{rivia.page('channel')}/change/"
    owner.post(page, channel_form(**until(days=1)))
    rivia.channel.refresh_from_db()
    assert rivia.channel.expires_at is not None
    assert abs(rivia.channel.expires_at - timezone.now() - timedelta(days=1)) < timedelta(minutes=1)
    owner.post(page, channel_form())
    rivia.channel.refresh_from_db()
    assert rivia.channel.expires_at is None


def test_an_end_in_the_past_is_an_error_of_the_form(owner: Client, rivia: Tenant) -> None:
    response = owner.post(f"{rivia.page('channel')}/change/", channel_form(**until(days=-1)))
    assert "expires_at" in response.context["adminform"].form.errors
    assert directory.channel(directory.instance("rivia"), "rivia-news")


def test_a_built_in_channel_never_ends(owner: Client, rivia: Tenant) -> None:
    built_in = Channel.objects.get(name="default")
    assert "expires_at" not in page_of(owner, built_in)
    owner.post(f"{BASE}/channel/{built_in.pk}/change/", channel_form(**until(days=1)))
    built_in.refresh_from_db()
    assert built_in.expires_at is None


def test_a_channel_whose_time_has_come_is_gone_here_too(owner: Client, rivia: Tenant) -> None:
    Channel.objects.filter(pk=rivia.channel.pk).update(expires_at=timezone.now())
    directory.forget()
    assert "rivia-news" not in owner.get(f"{BASE}/channel/").content.decode()
    assert owner.get(f"{rivia.page('channel')}/change/").status_code == 302
    with pytest.raises(NotFound):
        directory.channel(directory.instance("rivia"), "rivia-news")


def test_a_search_finds_things_by_their_sid_and_streams_by_their_unique_name(owner: Client, rivia: Tenant) -> None:
    made = TwilioStream(instance=rivia.instance, unique_name="client:agent.7")
    stream = tenancy.create_channel(rivia.instance, name="stream-7", companion=made)
    wanted = {
        "instance": sids.service_sid(rivia.instance.uuid),
        "administratorkey": sids.key_sid(rivia.account_key.uuid),
        "channel": sids.stream_sid(stream.uuid),
    }
    for model, sid in wanted.items():
        assert owner.get(f"{BASE}/{model}/", {"q": sid}).context["cl"].result_count == 1, model
    [found] = owner.get(f"{BASE}/channel/", {"q": "agent.7"}).context["cl"].result_list
    assert found == stream


def test_a_search_by_sid_finds_nothing_of_anothers(owner: Client, novigrad: Tenant) -> None:
    for model, sid in (
        ("instance", sids.service_sid(novigrad.instance.uuid)),
        ("administratorkey", sids.key_sid(novigrad.account_key.uuid)),
        ("channel", sids.stream_sid(novigrad.channel.uuid)),
    ):
        assert owner.get(f"{BASE}/{model}/", {"q": sid}).context["cl"].result_count == 0, model
