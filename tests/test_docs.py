"""The documentation keeps its word: every link leads somewhere, every setting is there with its default, none is invented."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver

from channels_app.conf import Conf
from channels_app.core.types import CLOSE_REASONS
from channels_app.dialects.syncano import urls

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SETTINGS_PAGE = ROOT / "docs" / "settings.md"

ROW = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`)?", re.MULTILINE)  # | `NAME` | `default`
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ENVIRONMENT_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")

READ_BY_OTHERS = {"FORWARDED_ALLOW_IPS", "PORT"}  # uvicorn; make and quickstart
OF_COMPOSE = {"POSTGRES_PASSWORD"}
OF_CLIENTS = {"SYNCANO_APIROOT", "SYNCANO_LOGLEVEL", "TWILIO_EDGE", "TWILIO_REGION"}  # of the vendors' SDKs


def own_settings() -> dict[str, str]:
    """Each of channels_app.conf's, as `PUBSUB_<NAME>`, with its default as one would write it in the environment."""
    return {f"PUBSUB_{each.name}": written(each.default) for each in fields(Conf)}


def written(default: object) -> str:
    if default is MISSING:  # a list, empty unless set
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def names_read_by_the_code() -> set[str]:
    """What settings.py and the system checks take from the environment, by name."""
    settings = (ROOT / "pubsub_site" / "settings.py").read_text()
    checks = (ROOT / "channels_app" / "checks.py").read_text()
    return set(re.findall(r'\benv\.\w+\(\s*"([A-Z_]+)"', settings)) | set(re.findall(r'= "(PUBSUB_[A-Z_]+)"', checks))


def known_names() -> set[str]:
    return own_settings().keys() | names_read_by_the_code() | READ_BY_OTHERS


def anchors_of(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


def routes(patterns: Sequence[URLPattern | URLResolver], prefix: str = "/") -> Iterator[tuple[str, str]]:
    """(methods, path) of every route, such as ("GET POST", "/v1.1/instances/")."""
    for each in patterns:
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, path)
        elif hasattr(each.callback, "actions"):  # not the one that answers for paths nobody has
            # DRF adds HEAD to the first request's view, so to what an earlier test has asked.
            yield " ".join(method for method in each.callback.actions if method != "head").upper(), path


def test_the_settings_page_lists_every_variable_and_no_other() -> None:
    assert {name for name, _ in ROW.findall(SETTINGS_PAGE.read_text())} == known_names()


def test_the_settings_page_tells_the_true_defaults() -> None:
    told = dict(ROW.findall(SETTINGS_PAGE.read_text()))
    assert {name: told[name] for name in own_settings()} == own_settings()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_mentions_a_variable_that_does_not_exist(page: Path) -> None:
    assert set(ENVIRONMENT_NAME.findall(page.read_text())) <= known_names() | OF_COMPOSE | OF_CLIENTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_the_close_codes_are_told_as_they_are() -> None:
    rows = re.findall(r"^\| (4\d\d\d) \| ([^|]+) \|", (ROOT / "docs" / "live.md").read_text(), re.MULTILINE)
    assert rows == [(str(each.code), each.reason) for each in CLOSE_REASONS]


def test_the_page_about_twilio_lists_every_error_code_and_no_other() -> None:
    code = "".join(path.read_text() for path in (ROOT / "channels_app" / "dialects" / "twilio").glob("**/*.py"))
    table = "".join(re.findall(r"^\| \d{3}.*$", (ROOT / "docs" / "twilio.md").read_text(), re.MULTILINE))
    used, told = (set(re.findall(r"\b(?:54|20(?!1))\d{3}\b", text)) for text in (code, table))
    assert told == used


def test_the_api_page_lists_every_route_with_its_methods() -> None:
    rows = re.findall(r"^\| ([A-Z ]+) \| `(/v1\.1/[^`]*)` \|", (ROOT / "docs" / "http-api.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((methods, path) for methods, path in routes(urls.urlpatterns) if path.startswith("/v1.1/"))
