"""What people see when something is wrong; and that programs, on the dialects' paths, get JSON instead."""

import logging

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import Client

from channels_app.core import directory

API = "/v1.1/instances/rivia/"


@pytest.fixture
def browser() -> Client:
    """One that comes back with a session, and takes an error for an answer."""
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "0" * 32
    return client


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch):
    """Make whatever is looked up, for a page and for the API, fail with an error."""

    def break_with(error: Exception) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(directory, "instance", fail)
        monkeypatch.setattr(SessionStore, "load", fail)

    return break_with


def heading_of(response: HttpResponse) -> str:
    """Of a page that needs nothing but itself."""
    content = response.content.decode()
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert not any(each in content for each in ("<script", "<link", "src=", "Traceback"))
    return content.partition("<h1>")[2].partition("</h1>")[0]


@pytest.mark.parametrize("path", ["/nowhere", "/v2/x", "/static/nowhere.css"])
def test_an_address_without_anything_has_a_page_that_leads_on(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, heading_of(response)) == (404, "There is nothing at this address")
    assert 'href="/api/docs/"' in response.content.decode()


def test_a_host_that_is_not_served_has_a_page_that_names_the_setting(browser: Client) -> None:
    response = browser.get("/admin/", headers={"host": "evil.example"})
    assert (response.status_code, heading_of(response)) == (400, "This server does not take that request")
    assert "ALLOWED_HOSTS" in response.content.decode()


def test_a_defect_has_a_page_that_says_what_is_unknown(browser: Client, broken) -> None:
    broken(ZeroDivisionError("a defect"))
    response = browser.get("/admin/")
    assert (response.status_code, heading_of(response)) == (500, "Something went wrong on this server")


def test_a_defect_of_the_api_is_json(browser: Client, db: None, broken) -> None:
    broken(ZeroDivisionError("a defect"))
    response = browser.get(API, headers={"x-api-key": "0" * 40})
    assert (response.status_code, response.json()) == (500, {"detail": "Internal server error."})


@pytest.mark.parametrize("path", ["/v1.1/nowhere/", "/v1/nowhere/", API, "/v1/Services", "/v3/x", "/v1/Services/%00"])
@pytest.mark.parametrize("host", ["testserver", "evil.example"])
def test_the_apis_refusals_are_json(browser: Client, db: None, path: str, host: str) -> None:
    response = browser.get(path, headers={"host": host, "accept": "text/html"})
    assert response.status_code in (401, 403, 404)
    assert response.json().keys() & {"detail", "message"}


@pytest.mark.parametrize("error", [OperationalError("connection refused\n\tIs the server running?"), InterfaceError("closed")])
def test_without_a_database_a_page_says_to_come_back_and_the_log_has_one_line(
    browser: Client, broken, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    broken(error)
    response = browser.get("/admin/")
    assert (response.status_code, heading_of(response)) == (503, "The database does not answer")
    assert response["Retry-After"] == "1"
    [line] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert line.exc_info is None
    assert "\n" not in line.getMessage()
    assert line.getMessage().startswith("No database for /admin/: c")


def test_without_a_database_the_api_goes_on_saying_so_in_json(browser: Client, db: None, broken) -> None:
    broken(OperationalError("connection refused"))
    response = browser.get(API, headers={"x-api-key": "0" * 40})
    assert (response.status_code, response["Retry-After"], list(response.json())) == (503, "1", ["detail"])


def test_browsers_find_an_icon(client: Client) -> None:
    [(url, status)] = client.get("/favicon.ico", follow=True).redirect_chain
    assert (url, status) == ("/static/channels_app/icon.svg", 302)


@pytest.mark.parametrize("path", ["/api/docs/", "/api/schema/"])
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_the_documentation_can_only_be_read(browser: Client, db: None, path: str, method: str) -> None:
    assert browser.generic(method, path).status_code == 405
