"""Who gets in, what is told to whom, and how every refusal looks (wire/twilio.md §1; cases 35-39)."""

import base64
import re
from urllib.parse import quote

import limits
import pytest
from django.db import OperationalError

from channels_app.core import tenancy
from channels_app.dialects.twilio import auth, sids
from channels_app.dialects.twilio.views.services import ServicesViewSet
from channels_app.models import Instance

from .conftest import FORM, NOWHERE_SID, auth_pair


@pytest.fixture
def key(account):
    return tenancy.create_administrator_key(account, description="backend")


def key_pair(row, secret):
    return f"{sids.key_sid(row.uuid)}:{secret.text}"


class TestCredentials:
    def test_the_account_and_a_key_of_it_see_the_same(self, rest, service, key):
        service.post("Streams", UniqueName="t")
        with_key = service.as_(key_pair(*key))
        assert with_key.get("Streams/t").body == service.get("Streams/t").body
        assert with_key.at("/v1/").get("Services").body == rest.get("Services").body

    def test_digits_of_a_sid_are_good_in_either_case(self, rest):
        sid, token = rest.pair.split(":")
        assert rest.as_(f"AC{sid[2:].upper()}:{token}").get("Services").status == 200

    def test_a_wrong_pair_is_refused(self, rest, key, stranger):
        sid, token = rest.pair.split(":")
        row, secret = key
        wrong = [f"{sid}:", f"{sid}:{token[:-1]}", f"{sid}:{secret.text}", f"{sids.key_sid(row.uuid)}:{token}", f":{token}"]
        wrong += [f"SK{sid[2:]}:{token}", f"{stranger.pair.split(':')[0]}:{token}", f"ISx:{token}", "x:y", f"{sid}{token}"]
        wrong += [f"{NOWHERE_SID}:{token}", f"AC{'0' * 32}:{token}", "é:\ud800".encode("utf-8", "replace").decode(), "\0:\0"]
        for pair in wrong:
            answer = rest.as_(pair).get("Services")
            assert answer.error == (401, 20003), pair
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="Twilio API"'

    def test_what_is_no_basic_pair_is_refused(self, rest):
        good = base64.b64encode(rest.pair.encode()).decode()
        nobody = rest.as_("")
        assert nobody.get("Services").error == (401, 20003)
        for header in (
            "",
            "Basic",
            "Basic ",
            "Basic !",
            f"Bearer {good}",
            f"Basic {good}!",
            "Basic //79",
            good,
            "Basic " + "A" * 9_000,
        ):
            assert nobody.ask("GET", "Services", Authorization=header).error == (401, 20003), header
        assert nobody.ask("GET", "Services", Authorization=f"basic  {good}").status == 200

    def test_it_says_what_was_wrong(self, rest):
        said = [rest.as_(pair).get("Services")["message"] for pair in ("", "me:x", rest.pair[:-1])]
        assert said == [auth.NONE_GIVEN, auth.BAD_USERNAME, "Authenticate"]

    def test_a_key_that_is_renewed_or_removed_stops_at_once(self, service, key):
        row, first = key
        assert service.as_(key_pair(*key)).get("Streams").status == 200
        second = tenancy.renew_administrator_key(row)
        assert service.as_(key_pair(row, first)).get("Streams").error == (401, 20003)
        assert service.as_(key_pair(row, second)).get("Streams").status == 200
        row.delete()
        assert service.as_(key_pair(row, second)).get("Streams").error == (401, 20003)

    def test_renewing_the_account_key_renews_the_auth_token(self, rest, account):
        tenancy.reset_account_key(account)
        assert rest.get("Services").error == (401, 20003)
        assert rest.as_(auth_pair(account)).get("Services").status == 200

    def test_an_inactive_administrator_is_nobody(self, rest, account):
        assert rest.get("Services").status == 200
        account.user.is_active = False
        account.user.save()
        assert rest.get("Services").error == (401, 20003)

    def test_credentials_come_before_everything_else(self, rest, service):
        nobody = service.as_("")
        for method, path in (("GET", "Streams/nope"), ("PUT", "Streams"), ("POST", "Streams"), ("GET", "/v1/Nope")):
            assert nobody.ask(method, path).error == (401, 20003)


class TestWalls:
    def test_others_see_nothing_of_a_service_as_if_it_did_not_exist(self, service, stranger):
        made = service.post("Streams", UniqueName="t")
        name = f"sync-{service.base.split('/')[3][2:]}"
        for ref in (service.base.split("/")[3], name):
            theirs, nowhere = f"/v1/Services/{ref}", f"/v1/Services/{NOWHERE_SID}"
            for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/Streams"), ("POST", "/Streams")):
                answer, missing = stranger.ask(method, theirs + path), stranger.ask(method, nowhere + path)
                assert answer.error == missing.error == (404, 20404)
                assert answer["message"] == missing["message"].replace(NOWHERE_SID, ref)
            for stream in ("t", made["sid"]):
                assert stranger.delete(f"{theirs}/Streams/{stream}").error == (404, 20404)
        assert service.get("Streams/t").body == made.body

    def test_lists_have_own_services_only(self, rest, service, stranger):
        mine = stranger.post("Services")["sid"]
        assert [each["sid"] for each in stranger.get("Services")["services"]] == [mine]
        assert [each["sid"] for each in rest.get("Services")["services"]] == [service.base.split("/")[3]]

    def test_a_stream_cannot_be_reached_through_another_accounts_service(self, service, stranger):
        made = service.post("Streams", UniqueName="t")
        theirs = stranger.at(f"/v1/Services/{stranger.post('Services')['sid']}/")
        for ref in ("t", made["sid"]):
            assert theirs.get(f"Streams/{ref}").error == (404, 20404)


class TestTheInstancesLimit:
    def test_it_holds_for_every_request_to_the_service(self, service, rest, monkeypatch):
        monkeypatch.setattr(
            limits, "RateLimitItemPerSecond", limits.RateLimitItemPerHour
        )  # a window that the test cannot outlive
        sid = service.base.split("/")[3]
        row = Instance.objects.get(uuid=sid[2:])
        row.request_rate = 3
        row.save()
        answers = [service.get("Streams"), service.get("Streams/nope"), rest.get(f"Services/{sid}"), service.post("Streams")]
        assert [answer.status for answer in answers] == [200, 404, 200, 429]
        assert service.get("Streams").error == (429, 54009)
        assert int(service.get("Streams").headers["Retry-After"]) > 0
        assert rest.get("Services").status == 200, "which is no request to any one of them"


class TestRoutes:
    def test_other_methods_are_not_supported(self, rest, service):
        service.post("Streams", UniqueName="t")
        this = service.base.removesuffix("/")
        for path, methods in {
            "/v1/Services": ("PUT", "PATCH", "DELETE", "OPTIONS"),
            this: ("PUT", "PATCH"),
            f"{this}/Streams": ("PUT", "PATCH", "DELETE"),
            f"{this}/Streams/t": ("PUT", "PATCH", "TRACE"),
            f"{this}/Streams/nope": ("PUT",),
            f"/v1/Services/{NOWHERE_SID}": ("PUT",),
        }.items():
            for method in methods:
                answer = rest.ask(method, path)
                assert answer.error == (405, 20004), (method, path)
                assert method not in answer.headers["Allow"]

    def test_what_has_no_route_is_not_found(self, rest, service):
        for path in (
            "/v1/Nope",
            "/v1/Services/",
            f"{service.base}Streams/",
            f"{service.base}Nope",
            "/v3/x",
            "/v3/Streams",
            "/v1/S",
        ):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                answer = rest.ask(method, path)
                assert answer.error == (404, 20404), (method, path)
                assert answer["message"] == f"The requested resource {path.removeprefix('/v1')} was not found"

    def test_other_sync_objects_are_not_served(self, rest, service):
        for path in ("Documents", "Lists", "Maps", "Documents/x", "Lists/x/Items", "Maps/x/Items/y"):
            for method in ("GET", "POST", "DELETE"):
                answer = service.ask(method, path)
                assert answer.error == (404, 20404)
                assert answer["message"] == f"Sync {path.split('/')[0]} are not served here: only Streams are"
        assert "requested resource" in rest.get(f"Services/{NOWHERE_SID}/Maps")["message"]

    def test_small_letters_under_v1_are_still_the_other_dialects(self, rest):
        assert rest.get("/v1/nope/").body == {"detail": "Not found."}

    def test_paths_that_are_no_text_are_not_found(self, rest, service):
        for part in ("%ff", "%00", "%ED%A0%80", "%2F", "..", "x" * 9_000, quote("💥"), "%0A"):
            for path in (f"/v1/Services/{part}", f"{service.base}Streams/{part}", f"/v1/N{part}"):
                assert rest.get(path).error == (404, 20404), path


class TestForms:
    def test_only_a_form_has_parameters(self, service):
        for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "", ";;", "x" * 5_000):
            body = b'{"UniqueName": "t"}' if "json" in kind else b"UniqueName=t"
            made = service.ask("POST", "Streams", body, kind)
            assert (made.status, made["unique_name"]) == (201, None), kind

    def test_a_form_is_one_whatever_else_its_type_says(self, service):
        for number, kind in enumerate((f"{FORM};charset=latin-1", FORM.upper(), f" {FORM} ; x=y")):
            made = service.ask("POST", "Streams", f"UniqueName=t%C3%A9{number}".encode(), kind)
            assert made["unique_name"] == f"té{number}", kind

    def test_names_of_parameters_are_exact_and_the_last_of_a_repeated_one_counts(self, service):
        assert service.post("Streams", uniquename="t", Uniquename="t")["unique_name"] is None
        assert service.ask("POST", "Streams?UniqueName=x", b"")["unique_name"] is None
        assert service.ask("POST", "Streams", b"UniqueName=a&UniqueName=b")["unique_name"] == "b"

    def test_what_no_form_can_be_is_refused_or_read_as_far_as_it_goes(self, service):
        assert service.ask("POST", "Streams", b"&".join([b"a=1"] * 1_001)).error == (400, 20001)
        for body in (b"\xff\xfe", b"%", b"UniqueName=%ff", b"=", b"&&&", b"UniqueName", b"UniqueName=%zz"):
            assert service.ask("POST", "Streams", body).status in (201, 400, 409), body


class TestAnswers:
    def test_every_answer_names_its_request(self, rest, service):
        answers = [rest.get("Services"), rest.get("Nope"), rest.as_("").get("Services"), service.post("Streams")]
        named = {answer.headers["Twilio-Request-Id"] for answer in answers}
        assert len(named) == 4
        assert all(re.fullmatch("RQ[0-9a-f]{32}", each) for each in named)

    def test_a_browser_elsewhere_may_read_them(self, rest):
        origin = {"Origin": "https://kaer.example"}
        for answer in (rest.ask("GET", "Services", **origin), rest.ask("GET", "Nope", **origin)):
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        preflight = rest.as_("").ask(
            "OPTIONS",
            "Services",
            **origin,
            **{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
        )
        assert preflight.status == 200
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]

    def test_addresses_are_on_the_host_that_the_client_used(self, rest, settings):
        settings.ALLOWED_HOSTS = ["sync.example.com"]
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        behind = {"Host": "sync.example.com", "X-Forwarded-Proto": "https"}
        made = rest.ask("POST", "Services", **behind)
        assert made["url"] == f"https://sync.example.com/v1/Services/{made['sid']}"
        listed = rest.ask("GET", "Services", **behind)
        assert listed["meta"]["first_page_url"] == "https://sync.example.com/v1/Services?PageSize=50&Page=0"
        assert rest.ask("GET", "Services", Host="elsewhere.example").error == (400, 20001)

    def test_a_request_for_a_host_that_is_not_served_changes_nothing(self, rest, service):
        service.post("Streams", UniqueName="old", Ttl=0)
        own = service.base.rstrip("/")
        requests = [
            ("POST", "/v1/Services", b"FriendlyName=x"),
            ("POST", own, b"FriendlyName=x"),
            ("POST", f"{own}/Streams", b"UniqueName=new"),
            ("POST", f"{own}/Streams/old", b"Ttl=60"),
            ("DELETE", f"{own}/Streams/old", b""),
            ("DELETE", own, b""),
        ]
        before = rest.get("Services").body, service.get("Streams").body
        for method, path, form in requests:
            assert rest.ask(method, path, form, Host="elsewhere.example").error == (400, 20001)
            assert (rest.get("Services").body, service.get("Streams").body) == before, (method, path)

    def test_a_defect_is_told_in_the_same_shape(self, rest, monkeypatch, caplog):
        for error, told in ((RuntimeError("secret"), (500, 20500)), (OperationalError("secret"), (503, 20503))):

            def fail(self, request, error=error):
                raise error

            monkeypatch.setattr(ServicesViewSet, "list", fail)
            answer = rest.get("Services")
            assert answer.error == told
            assert b"secret" not in answer.raw
        assert "RuntimeError: secret" in caplog.text
