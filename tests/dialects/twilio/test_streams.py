"""Streams: making, finding, changing and removing them, by SID and by name (wire/twilio.md §3; cases 30-34, 40-50)."""

import re
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from channels_app.core import directory, retention, tenancy
from channels_app.dialects.twilio import streams
from channels_app.models import Channel, Instance, TwilioStream

from .conftest import NO_STREAM_SID, NOWHERE_SID

FIELDS = [
    *("account_sid", "created_by", "date_created", "date_expires", "date_updated"),
    *("links", "service_sid", "sid", "unique_name", "url"),
]
HOUR = timedelta(hours=1)


def seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").timestamp()


def instance_of(service):
    return Instance.objects.get(twilio_service__isnull=False, uuid=service.base.split("/")[3][2:])


class TestMaking:
    def test_an_empty_post_makes_a_stream_without_a_name_that_never_expires(self, service, rest):
        made = service.post("Streams")
        assert made.status == 201
        assert sorted(made.body) == FIELDS
        assert re.fullmatch("TO[0-9a-f]{32}", made["sid"])
        assert (made["unique_name"], made["date_expires"], made["created_by"]) == (None, None, "system")
        assert made["account_sid"] == rest.pair.split(":")[0]
        assert made["service_sid"] == service.base.split("/")[3]
        assert made["url"] == f"http://testserver{service.base}Streams/{made['sid']}"
        assert made["links"] == {"messages": f"{made['url']}/Messages"}

    def test_dates_are_whole_seconds_since_the_helpers_read_no_others(self, service):
        made = service.post("Streams", Ttl=5)
        for name in ("date_created", "date_updated", "date_expires"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made[name])

    def test_a_taken_name_is_refused(self, service):
        service.post("Streams", UniqueName="t")
        again = service.post("Streams", UniqueName="t")
        assert again.error == (409, 54301)
        assert again["message"] == "Unique name already exists"

    def test_names_differ_by_case_and_by_spaces(self, service):
        sids = {service.post("Streams", UniqueName=name)["sid"] for name in ("t", "T", " t", "t ")}
        assert len(sids) == 4
        assert service.get("Streams/T")["unique_name"] == "T"

    def test_the_same_name_is_free_in_another_service(self, service, rest):
        other = rest.at(f"/v1/Services/{rest.post('Services')['sid']}/")
        assert service.post("Streams", UniqueName="t").status == 201
        assert other.post("Streams", UniqueName="t").status == 201

    def test_a_name_that_cannot_be_is_refused(self, service):
        for name in ["", "TO" + "0" * 32, "ZZ" + "aB" * 16, "x" * 321, "a\0b"]:
            refusal = service.post("Streams", UniqueName=name)
            assert refusal.error == (400, 54302), name
            assert refusal["message"].startswith("Invalid unique name: 1 to 320 characters"), name

    def test_any_other_name_will_do(self, service):
        for name in ("x" * 256, "x" * 320, "STREAM-CA1", "client:agent.x", "ünï 🐺", "a/b", "default", "eventlog", "-", "?"):
            made = service.post("Streams", UniqueName=name)
            assert (made.status, made["unique_name"]) == (201, name)
            assert service.get(f"Streams/{made['sid']}").body == made.body, name

    def test_a_time_to_live_that_cannot_be_is_refused(self, service):
        for ttl in ["-1", "31536001", "abc", "1.5", "1e3", "٣", "0x10", " 1", "9" * 5_000, "+5"]:
            assert service.post("Streams", Ttl=ttl).error == (400, 54011), ttl

    def test_a_time_to_live_counts_from_the_making(self, service):
        for ttl in ["1", "3600", "31536000"]:
            made = service.post("Streams", Ttl=ttl)
            assert seconds(made["date_expires"]) - seconds(made["date_created"]) == int(ttl), ttl

    def test_no_time_to_live_is_for_ever(self, service):
        for ttl in ["0", ""]:
            assert service.post("Streams", Ttl=ttl)["date_expires"] is None, ttl

    def test_nothing_is_made_when_one_of_the_parameters_is_wrong(self, service):
        service.post("Streams", UniqueName="t", Ttl="abc")
        assert service.get("Streams")["streams"] == []

    def test_who_loses_a_race_for_a_name_is_told_that_it_is_taken(self, service, monkeypatch):
        service.post("Streams", UniqueName="t")
        monkeypatch.setattr(streams, "_free", lambda of, name: None)  # as if nobody had been there when we looked
        assert service.post("Streams", UniqueName="t").error == (409, 54301)
        assert service.post("Streams", UniqueName="T").status == 201


class TestFinding:
    def test_a_name_and_a_sid_are_the_same_stream(self, service):
        made = service.post("Streams", UniqueName="t")
        by_sid, upper = service.get(f"Streams/{made['sid']}"), service.get(f"Streams/TO{made['sid'][2:].upper()}")
        assert service.get("Streams/t").body == by_sid.body == upper.body == made.body

    def test_addresses_hold_sids_where_the_request_had_names(self, service, rest):
        made = service.post("Streams", UniqueName="t")
        named = rest.get(f"Services/{instance_of(service).name}/Streams/t")
        assert (named["url"], named["service_sid"]) == (made["url"], made["service_sid"])

    def test_what_is_not_there_is_not_found(self, service):
        for ref in ["nope", NO_STREAM_SID, NOWHERE_SID, "x" * 400, "a%00b", "%ff", "%F0%9F%90%BA", "default"]:
            for method in ("GET", "POST", "DELETE"):
                assert service.ask(method, f"Streams/{ref}", b"Ttl=5").error == (404, 20404), ref

    def test_the_message_has_the_path_with_the_hole_in_it(self, service):
        path = f"{service.base}Streams/nope".removeprefix("/v1")
        assert service.get("Streams/nope")["message"] == f"The requested resource {path} was not found"

    def test_another_services_stream_is_not_found_here(self, service, rest):
        made = service.post("Streams", UniqueName="t")
        other = rest.at(f"/v1/Services/{rest.post('Services')['sid']}/")
        for ref in (made["sid"], "t"):
            assert other.get(f"Streams/{ref}").error == (404, 20404)
            assert other.delete(f"Streams/{ref}").error == (404, 20404)
        assert service.get("Streams/t").status == 200

    def test_an_unknown_service_is_not_found(self, rest):
        for ref in [NOWHERE_SID, "nowhere", "TO" + "0" * 32, "%00", "undefined"]:
            for path in (f"Services/{ref}", f"Services/{ref}/Streams", f"Services/{ref}/Streams/t"):
                assert rest.get(path).error == (404, 20404), ref


class TestChanging:
    def test_a_new_time_to_live_counts_from_now(self, service, later):
        made = service.post("Streams", UniqueName="t", Ttl=60)
        later(timedelta(seconds=30))
        changed = service.post("Streams/t", Ttl=864_000)
        assert seconds(changed["date_expires"]) - seconds(made["date_created"]) in (864_030, 864_031)
        assert seconds(changed["date_updated"]) - seconds(made["date_updated"]) in (30, 31)
        assert changed["date_created"] == made["date_created"]
        assert service.get("Streams/t").body == changed.body

    @pytest.mark.parametrize("ttl", ["", "0"])
    def test_it_can_be_taken_away(self, service, ttl):
        service.post("Streams", UniqueName="t", Ttl=60)
        assert service.post("Streams/t", Ttl=ttl)["date_expires"] is None

    def test_nothing_to_change_is_refused_and_a_name_cannot_be_changed(self, service):
        service.post("Streams", UniqueName="t")
        assert service.post("Streams/t").error == (400, 54010)
        assert service.post("Streams/t", UniqueName="u").error == (400, 54010)

    def test_a_wrong_time_to_live_changes_nothing(self, service):
        made = service.post("Streams", UniqueName="t", Ttl=60)
        assert service.post("Streams/t", Ttl="x").error == (400, 54011)
        assert service.get("Streams/t").body == made.body


class TestTheEnd:
    @pytest.mark.parametrize("by", ["name", "sid"])
    def test_a_deleted_stream_is_gone_and_its_name_free(self, service, by):
        made = service.post("Streams", UniqueName="t")
        ref = "t" if by == "name" else made["sid"]
        gone = service.delete(f"Streams/{ref}")
        assert (gone.status, gone.raw) == (204, b"")
        for method in ("GET", "DELETE", "POST"):
            assert service.ask(method, f"Streams/{ref}", b"Ttl=5").error == (404, 20404)
        again = service.post("Streams", UniqueName="t")
        assert again.status == 201
        assert again["sid"] != made["sid"]

    def test_an_expired_stream_is_gone_at_once_and_its_name_free(self, service, later):
        made = [service.post("Streams", UniqueName=name, Ttl=1) for name in ("t", "name with spaces")]
        later(timedelta(seconds=1))
        assert service.get("Streams")["streams"] == []
        for stream in made:
            for ref in (stream["unique_name"].replace(" ", "%20"), stream["sid"]):
                for method in ("GET", "POST", "DELETE"):
                    assert service.ask(method, f"Streams/{ref}", b"Ttl=5").error == (404, 20404)
            again = service.post("Streams", UniqueName=stream["unique_name"])
            assert again.status == 201
            assert again["sid"] != stream["sid"]

    def test_an_expired_stream_is_removed_for_real(self, service, later):
        service.post("Streams", UniqueName="t", Ttl=60)
        later(timedelta(seconds=59))
        assert retention.sweep().channels == 0
        later(timedelta(seconds=60))
        assert retention.sweep().channels == 1
        assert not Channel.with_expired.filter(name="t").exists()
        assert not TwilioStream.objects.exists()

    def test_publishing_finds_no_expired_stream_though_it_was_remembered(self, service, later):
        made = service.post("Streams", UniqueName="t", Ttl=60)
        info = directory.instance(instance_of(service).name)
        assert streams.find_channel(info, "t").uuid.hex == made["sid"][2:]
        later(timedelta(seconds=60))
        with pytest.raises(streams.NotFound):
            streams.find_channel(info, "t")


class TestChannels:
    def test_a_stream_is_the_channel_of_its_name_and_keeps_its_messages_for_a_minute(self, service):
        made = service.post("Streams", UniqueName="heat-map_2")
        channel = Channel.objects.get(instance=instance_of(service), name="heat-map_2")
        assert made["sid"] == f"TO{channel.uuid.hex}"
        assert (channel.type, channel.custom_publish, channel.retention_age) == ("default", True, 60)

    def test_a_name_that_no_channel_can_have_gets_one_a_channel_name_of_its_own(self, service):
        for name in ["Heatmap", "a b", "x" * 65, "2nd", "default", "a/b", "end-"]:
            made = service.post("Streams", UniqueName=name)
            assert Channel.objects.get(uuid=made["sid"][2:]).name == f"stream-{made['sid'][2:]}", name

    def test_a_channel_made_elsewhere_is_a_stream_of_its_name(self, service):
        instance = instance_of(service)
        channel = tenancy.create_channel(instance, name="lobby", custom_publish=True)
        found = service.get("Streams/lobby")
        assert (found["sid"], found["unique_name"], found["created_by"]) == (f"TO{channel.uuid.hex}", "lobby", "system")
        assert found.body == service.get(f"Streams/{found['sid']}").body == service.get("Streams")["streams"][0]
        assert service.post("Streams", UniqueName="lobby").error == (409, 54301)

    def test_a_channel_with_rooms_is_no_stream_and_keeps_no_stream_from_its_name(self, service):
        instance = instance_of(service)
        rooms = tenancy.create_channel(instance, name="halls", type=Channel.Type.SEPARATE_ROOMS)
        for ref in ("halls", f"TO{rooms.uuid.hex}"):
            assert service.get(f"Streams/{ref}").error == (404, 20404)
        made = service.post("Streams", UniqueName="halls")
        assert service.get("Streams/halls").body == made.body
        assert [each["sid"] for each in service.get("Streams")["streams"]] == [made["sid"]]

    def test_built_in_channels_are_no_streams(self, service):
        assert service.get("Streams")["streams"] == []
        assert service.get("Streams/eventlog").error == (404, 20404)

    def test_of_two_with_one_name_the_one_made_as_a_stream_has_it(self, service):
        made = service.post("Streams", UniqueName="Halls")
        TwilioStream.objects.filter(channel__uuid=made["sid"][2:]).update(unique_name="halls")
        tenancy.create_channel(instance_of(service), name="halls")
        assert service.get("Streams/halls")["sid"] == made["sid"]

    def test_the_time_to_live_of_a_channel_made_elsewhere_can_be_set(self, service):
        channel = tenancy.create_channel(instance_of(service), name="lobby")
        service.post("Streams/lobby", Ttl=3600)
        channel.refresh_from_db()
        assert channel.expires_at - timezone.now() <= HOUR
