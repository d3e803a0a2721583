"""Twilio's Python helper (PyPI `twilio`), unmodified, and the real server: life cycles, refusals, pages (wire/twilio.md §9)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from .deployment import Server, Template

MANY = 250


@pytest.fixture(scope="module")
def server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = template.deploy(tmp_path_factory.mktemp("twilio-python")).start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def client(server: Server, template: Template) -> Client:
    """Pointed here in the shorter way of the two (docs/twilio.md)."""
    told: Any = template.credentials["twilio"]
    client = Client(told["account_sid"], told["auth_token"])
    client.sync.base_url = server.url
    return client


@pytest.fixture
def service(client: Client) -> Any:
    made = client.sync.v1.services.create(friendly_name="farm")
    yield client.sync.v1.services(made.sid)
    made.delete()


def refusal(call: Callable[[], object]) -> tuple[int, int]:
    """(status, code) of the helper's own exception."""
    with pytest.raises(TwilioRestException) as refused:
        call()
    assert refused.value.msg
    return refused.value.status, refused.value.code


def test_a_service_is_created_fetched_updated_listed_and_deleted(client):
    made = client.sync.v1.services.create(friendly_name="farm", reachability_debouncing_window=1000)
    assert (made.friendly_name, made.reachability_debouncing_window, made.acl_enabled) == ("farm", 1000, False)
    assert isinstance(made.date_created, datetime)
    assert made.unique_name is None
    updated = made.update(webhook_url="http://www.example.com", acl_enabled=True)
    assert (updated.webhook_url, updated.acl_enabled, updated.friendly_name) == ("http://www.example.com", True, "farm")
    fetched = client.sync.v1.services(made.sid).fetch()
    assert (fetched.sid, fetched.webhook_url, fetched.links) == (made.sid, updated.webhook_url, made.links)
    assert made.sid in [each.sid for each in client.sync.v1.services.list(limit=20)]
    assert made.delete() is True
    assert refusal(fetched.fetch) == (404, 20404)


def test_a_stream_is_created_fetched_updated_listed_and_deleted(service):
    made = service.sync_streams.create(unique_name="heat map", ttl=3600)
    assert made.date_expires - made.date_created == timedelta(hours=1)
    assert (made.unique_name, made.created_by, made.service_sid) == ("heat map", "system", service.fetch().sid)
    for ref in (made.sid, "heat map"):
        assert service.sync_streams(ref).fetch().sid == made.sid
    updated = service.sync_streams("heat map").update(ttl=864_000)
    assert updated.date_expires - datetime.now(UTC) > timedelta(days=9)
    assert [each.unique_name for each in service.sync_streams.list(limit=20)] == ["heat map"]
    assert service.sync_streams("heat map").delete() is True
    assert service.sync_streams.list() == []
    assert service.sync_streams.create(unique_name="heat map").sid != made.sid


def test_a_message_is_published(service):
    stream = service.sync_streams.create()
    published = service.sync_streams(stream.sid).stream_messages.create(data={"x": 256, "name": "Żółć ☃"})
    assert published.sid.startswith("TZ")
    assert published.data == {"x": 256, "name": "Żółć ☃"}


def test_the_old_spelling_and_an_instances_name_work_as_well(client, template):
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old = client.sync.services(template.credentials["instance"])
    assert old.sync_streams("lobby").fetch().unique_name == "lobby"
    assert old.sync_streams("lobby").stream_messages.create(data={}).data == {}


def test_a_key_of_the_account_does_as_the_account_does(server, template, client):
    told: Any = template.credentials["twilio"]
    with_key = Client(told["api_key_sid"], told["api_key_secret"], told["account_sid"])
    with_key.sync.base_url = server.url
    assert with_key.sync.v1.services(told["service_sid"]).fetch().account_sid == told["account_sid"]
    assert with_key.sync.v1.services.list()[0].sid == client.sync.v1.services.list()[0].sid


def test_the_documented_way_to_another_host_works_as_well(server, template):
    class Here(TwilioHttpClient):
        def request(self, method: str, uri: str, *arguments: Any, **options: Any) -> Any:
            return super().request(method, uri.replace("https://sync.twilio.com", server.url), *arguments, **options)

    told: Any = template.credentials["twilio"]
    client = Client(told["account_sid"], told["auth_token"], http_client=Here())
    assert client.sync.v1.services(told["service_sid"]).sync_streams("lobby").fetch().unique_name == "lobby"


class TestRefusals:
    def test_of_services(self, client):
        services = client.sync.v1.services
        assert refusal(lambda: services.create(webhook_url="not a url")) == (400, 54051)
        assert refusal(lambda: services.create(friendly_name="x" * 257)) == (400, 54053)
        assert refusal(lambda: services.create(reachability_debouncing_window=999)) == (400, 20001)
        for call in (services("IS" + "0" * 32).fetch, services("nowhere").delete, services("nowhere").update):
            assert refusal(call) == (404, 20404)

    def test_of_streams(self, service):
        streams = service.sync_streams
        streams.create(unique_name="t")
        assert refusal(lambda: streams.create(unique_name="t")) == (409, 54301)
        assert refusal(lambda: streams.create(unique_name="")) == (400, 54302)
        assert refusal(lambda: streams.create(ttl=31_536_001)) == (400, 54011)
        assert refusal(lambda: streams("t").update(ttl=-1)) == (400, 54011)
        assert refusal(streams("t").update) == (400, 54010)
        for call in (streams("nope").fetch, streams("nope").delete, lambda: streams("nope").update(ttl=5)):
            assert refusal(call) == (404, 20404)

    def test_of_credentials(self, server):
        stranger = Client("AC" + "0" * 32, "wrong")
        stranger.sync.base_url = server.url
        assert refusal(stranger.sync.v1.services("IS" + "0" * 32).fetch) == (401, 20003)

    def test_of_lists_which_have_an_exception_without_a_code(self, service):
        with pytest.raises(TwilioException, match="54454"):
            service.sync_streams.list(page_size=1001)


@pytest.fixture(scope="module")
def full(client: Client) -> Iterator[tuple[Any, list[str]]]:
    """A service with many streams, and their SIDs in the order of their making."""
    made = client.sync.v1.services.create()
    service = client.sync.v1.services(made.sid)
    yield service, [service.sync_streams.create(unique_name=f"stream {number}").sid for number in range(MANY)]
    made.delete()


def sids_of(streams: Any) -> list[str]:
    return [each.sid for each in streams]


def test_a_list_has_each_once_in_order_whatever_the_pages_size(full):
    service, sids = full
    assert sids_of(service.sync_streams.list()) == sids
    for size in (7, 100, 500):
        assert sids_of(service.sync_streams.list(page_size=size)) == sids


def test_a_list_ends_at_its_limit(full):
    service, sids = full
    for limit in (1, 100, 120, 200):
        assert sids_of(service.sync_streams.list(limit=limit)) == sids[:limit]


def test_streams_come_one_after_the_other(full):
    service, sids = full
    assert sids_of(service.sync_streams.stream()) == sids


def test_pages_can_be_turned_both_ways(full):
    service, sids = full
    pages = [service.sync_streams.page(page_size=100)]
    pages += [pages[0].next_page()]
    pages += [pages[1].next_page()]
    assert [sid for page in pages for sid in sids_of(page)] == sids
    assert pages[2].next_page() is None
    assert sids_of(pages[2].previous_page()) == sids[100:200]
