"""Services: their fields, defaults and rules (wire/twilio.md §2; cases 51-56)."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from channels_app.core import tenancy
from channels_app.core.credentials import unseal
from channels_app.models import Channel, Collaborator, Instance

DEFAULTS = {
    "unique_name": None,
    "friendly_name": None,
    "webhook_url": None,
    "webhooks_from_rest_enabled": False,
    "reachability_webhooks_enabled": False,
    "acl_enabled": False,
    "reachability_debouncing_enabled": False,
    "reachability_debouncing_window": 5000,
}
PARAMETERS = {
    "FriendlyName": "farm",
    "WebhookUrl": "http://www.example.com/hook?a=b",
    "WebhooksFromRestEnabled": "true",
    "ReachabilityWebhooksEnabled": "true",
    "AclEnabled": "true",
    "ReachabilityDebouncingEnabled": "true",
    "ReachabilityDebouncingWindow": "30000",
}
SET = {
    "friendly_name": "farm",
    "webhook_url": "http://www.example.com/hook?a=b",
    "webhooks_from_rest_enabled": True,
    "reachability_webhooks_enabled": True,
    "acl_enabled": True,
    "reachability_debouncing_enabled": True,
    "reachability_debouncing_window": 30000,
}


def test_an_empty_post_makes_a_service_with_the_defaults(rest):
    made = rest.post("Services")
    assert made.status == 201
    assert re.fullmatch("IS[0-9a-f]{32}", made["sid"])
    url = f"http://testserver/v1/Services/{made['sid']}"
    links = {part.lower(): f"{url}/{part}" for part in ("Documents", "Lists", "Maps", "Streams")}
    dates = {"date_created": made["date_created"], "date_updated": made["date_created"]}
    identity = {"sid": made["sid"], "account_sid": rest.pair.split(":")[0], "url": url, "links": links}
    assert made.body == {**DEFAULTS, **identity, **dates}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["date_created"])


def test_all_seven_parameters_are_kept(rest):
    made = rest.post("Services", **PARAMETERS)
    assert {name: made[name] for name in SET} == SET
    assert rest.get(f"Services/{made['sid']}").body == made.body


def test_an_update_changes_what_is_sent_and_nothing_else(rest, later):
    made = rest.post("Services", **PARAMETERS)
    later(timedelta(seconds=5))
    for parameter, value, field, now in (
        ("FriendlyName", "field", "friendly_name", "field"),
        ("AclEnabled", "false", "acl_enabled", False),
        ("WebhookUrl", "", "webhook_url", None),
    ):
        before = rest.get(f"Services/{made['sid']}").body
        changed = rest.post(f"Services/{made['sid']}", **{parameter: value})
        assert changed.status == 200
        assert changed.body == {**before, field: now, "date_updated": changed["date_updated"]}
        assert changed["date_updated"] > made["date_updated"]


def test_an_update_of_nothing_is_refused(service):
    this = service.at(service.base.removesuffix("/"))
    assert this.post().error == (400, 54010)
    assert this.post(UniqueName="farm").error == (400, 54010)


def test_a_webhook_url_that_is_none_is_refused(rest):
    for url in [
        "not a url",
        "http://" + "x" * 512,
        "ftp://example.com/",
        "javascript:1",
        "http://",
        "http://[::1",
        "http://a b/",
    ]:
        assert rest.post("Services", WebhookUrl=url).error == (400, 54051)
        assert rest.get("Services")["services"] == [], url


def test_a_webhook_url_of_512_characters_and_any_host_will_do(rest):
    for url in ["http://localhost:9000/", "https://hooks/x", "http://[::1]:80/", "http://" + "x" * 505]:
        assert rest.post("Services", WebhookUrl=url)["webhook_url"] == url, url


def test_a_debouncing_window_out_of_range_is_refused(rest):
    for window in ["999", "30001", "abc", "", "1e3", "-1", "٣٠٠٠"]:
        assert rest.post("Services", ReachabilityDebouncingWindow=window).error == (400, 20001), window


def test_a_flag_is_true_or_false(rest):
    for flag in ["maybe", "", "1"]:
        assert rest.post("Services", AclEnabled=flag).error == (400, 20001), flag


def test_a_friendly_name_that_cannot_be_is_refused(rest):
    for name in ["x" * 257, "a\0b"]:
        assert rest.post("Services", FriendlyName=name).error == (400, 54053), name


def test_a_deleted_service_is_gone_with_its_streams(rest, service):
    made = service.post("Streams", UniqueName="t")
    path = service.base.removesuffix("/")
    gone = rest.delete(path)
    assert (gone.status, gone.raw) == (204, b"")
    for where in (path, f"{path}/Streams", f"{path}/Streams/t", made["url"]):
        assert rest.get(where).error == (404, 20404)
    assert rest.delete(path).error == (404, 20404)
    assert not Channel.with_expired.exists()


def test_an_instance_made_elsewhere_is_a_service_of_its_name(rest, account):
    row = tenancy.create_instance(owner=account.user, name="kaer-morhen", description="a keep")
    found = rest.get("Services/kaer-morhen")
    assert {name: found[name] for name in DEFAULTS} == {**DEFAULTS, "unique_name": "kaer-morhen", "friendly_name": "a keep"}
    assert found["sid"] == f"IS{row.uuid.hex}"
    assert rest.post("Services/kaer-morhen", AclEnabled="true")["unique_name"] == "kaer-morhen"
    assert rest.get(f"Services/{found['sid']}")["acl_enabled"] is True


def test_a_renamed_service_keeps_its_sid(rest, service):
    sid = service.base.split("/")[3]
    tenancy.rename_instance(Instance.objects.get(uuid=sid[2:]), "vizima")
    assert rest.get(f"Services/{sid}")["unique_name"] == "vizima"
    assert rest.get("Services/vizima")["sid"] == sid


def test_services_have_a_limit_of_their_own(rest, settings):
    settings.PUBSUB = {"TWILIO_MAX_SERVICES": 2}
    assert [rest.post("Services").status for _ in range(3)] == [201, 201, 400]
    assert rest.post("Services").error == (400, 20001)


def test_services_made_at_once_keep_to_the_limit(rest, settings):
    settings.PUBSUB = {"TWILIO_MAX_SERVICES": 3}

    def make(_):
        try:
            return rest.post("Services").status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, range(16))) == [201] * 3 + [400] * 13


def test_services_do_not_count_as_instances(rest, account, settings):
    settings.PUBSUB = {"MAX_INSTANCES": 1}
    for _ in range(2):
        assert rest.post("Services").status == 201
    headers = {"X-API-KEY": unseal(account.key_sealed)}
    made = [Client().post("/v1.1/instances/", {"name": name}, headers=headers).status_code for name in ("rivia", "cintra")]
    assert made == [201, 400]


def test_only_own_instances_are_services(rest, account):
    other = get_user_model().objects.create_user("vesemir")
    shared = tenancy.create_instance(owner=other, name="kaer-morhen")
    Collaborator.objects.create(instance=shared, user=account.user, role="full")
    assert rest.get("Services/kaer-morhen").error == (404, 20404)
    assert rest.get(f"Services/IS{shared.uuid.hex}/Streams").error == (404, 20404)
    assert rest.get("Services")["services"] == []
