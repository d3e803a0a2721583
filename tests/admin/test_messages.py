"""The page "Messages": read-only, by channel and room, page by page, without ever counting."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from channels_app.core import log
from channels_app.core.log import Entry
from channels_app.core.types import Draft

from .conftest import BASE, Tenant, fill

PAGE = f"{BASE}/message/"


def view(client: Client, url: str = PAGE, **query: object) -> tuple[list[int], dict[str, str]]:
    """The ids on the page, and its links by their text."""
    response = client.get(url, query or None)
    assert response.status_code == 200
    content = response.content.decode()
    links = re.findall(r'<a href="(\?|/admin/channels_app/message/\?[^"]*)"[^>]*>([^<]*)</a>', content)
    ids = [int(each) for each in re.findall(r'<th scope="row">(\d+)</th>', content)]
    return ids, {text.strip("«‹› "): url.replace("&amp;", "&") for url, text in links}


def test_the_index_and_every_channel_lead_to_it(owner: Client, rivia: Tenant) -> None:
    assert f'href="{PAGE}"' in owner.get("/admin/").content.decode()
    for page in (f"{BASE}/channel/", f"{rivia.page('channel')}/change/"):
        link = f"{PAGE}?channel=rivia%2Frivia-news"
        assert link in owner.get(page).content.decode()
        assert owner.get(link).context["channel"] == rivia.channel


def test_it_pages_both_ways_by_id(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["a"] * 120)
    newest, links = view(owner, channel="rivia/rivia-news")
    assert newest == list(range(120, 70, -1))
    assert "Newer" not in links
    middle, links = view(owner, links["Older"])
    assert middle == list(range(70, 20, -1))
    oldest, links = view(owner, links["Older"])
    assert oldest == list(range(20, 0, -1))
    assert "Older" not in links
    assert view(owner, links["Newest"])[0] == newest
    back, links = view(owner, links["Newer"])
    assert back == middle
    assert view(owner, links["Newer"])[0] == newest


def test_it_filters_by_room_and_the_pages_keep_the_filter(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["even", "odd"] * 60)
    ids, links = view(owner, channel="rivia/rivia-news", room="even")
    assert ids == list(range(119, 19, -2))
    ids, links = view(owner, links["Older"])
    assert ids == list(range(19, 0, -2))
    assert view(owner, links["Newer"])[0] == list(range(119, 19, -2))


@pytest.mark.parametrize("room", ["Paris", "PARIS", " paris "])
def test_a_room_is_found_however_it_is_written(owner: Client, rivia: Tenant, room: str) -> None:
    fill(rivia.channel, ["paris", "rome"] * 60)
    ids, links = view(owner, channel="rivia/rivia-news", room=room)
    assert ids == list(range(119, 19, -2))
    assert view(owner, links["Older"])[0] == list(range(19, 0, -2))


def test_the_payload_stands_beside_the_room_where_a_narrow_screen_shows_it(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["a"])
    response = owner.get(PAGE, {"channel": "rivia/rivia-news"})
    head = re.findall(r"<th scope=\"col\"[^>]*><div class=\"text\"><span>([^<]*)", response.content.decode())
    assert head[:3] == ["ID", "Room", "Payload"]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", response.content.decode().partition("<tbody>")[2], re.DOTALL)
    assert [cells[0], cells[1], "<pre>" in cells[2]] == ["1", "a", True]
    assert len(cells) == len(head)


def test_an_unknown_room_is_empty(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["a"])
    assert "No messages in this room." in owner.get(PAGE, {"channel": "rivia/rivia-news", "room": "b"}).content.decode()


def test_it_never_counts_messages_nor_skips_over_them(owner: Client, rivia: Tenant) -> None:
    fill(rivia.channel, ["a"] * 120)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        _, links = view(owner, channel="rivia/rivia-news")
        view(owner, links["Older"])
        owner.get(f"{rivia.page('instance')}/delete/")
    on_messages = [each["sql"] for each in captured if log.MESSAGE in each["sql"]]
    assert len(on_messages) == 6  # for each page: itself, and whether there is one on either side
    assert not any("COUNT(" in sql or "OFFSET" in sql for sql in on_messages)


def test_payloads_are_shown_indented_and_escaped(owner: Client, rivia: Tenant) -> None:
    payloads = ['{"a":"<script>"}', '{"big":1e999}', "[" * 5000 + "]" * 5000, '"\\ud800"']
    log.append([Entry(rivia.channel.pk, Draft(payload, "{}", "a")) for payload in payloads])
    content = owner.get(PAGE, {"channel": "rivia/rivia-news"}).content.decode()
    assert "&lt;script&gt;" in content
    assert "<script>&quot;" not in content
    assert "1e999" in content
    assert "\\ud800" in content
    assert "[" * 5000 in content


def test_anothers_channel_is_as_unknown_as_none(owner: Client, novigrad: Tenant) -> None:
    fill(novigrad.channel, ["a"])
    answers = [owner.get(PAGE, {"channel": name}).content.decode() for name in ("novigrad/novigrad-news", "novigrad/none")]
    assert all("There is no such channel" in each and "<tbody>" not in each for each in answers)
    assert 'value="novigrad/' not in owner.get(PAGE).content.decode()


def test_a_superuser_reads_every_channel(superuser: Client, novigrad: Tenant) -> None:
    fill(novigrad.channel, ["a"])
    assert view(superuser, channel="Novigrad/Novigrad-News")[0] == [1]


@pytest.mark.parametrize(
    "query",
    [
        {"channel": ""},
        {"channel": "rivia"},
        {"channel": "/"},
        {"channel": "\0"},
        {"channel": "x" * 500},
        {"channel": "rivia/rivia-news", "room": "\0"},
        {"channel": "rivia/rivia-news", "room": "x" * 129},
        {"channel": "rivia/rivia-news", "before": "x"},
        {"channel": "rivia/rivia-news", "before": "-1"},
        {"channel": "rivia/rivia-news", "after": str(2**63)},
        {"channel": "rivia/rivia-news", "after": "9" * 5000},
    ],
)
def test_a_wrong_query_is_told_and_shows_nothing(owner: Client, rivia: Tenant, query: dict[str, str]) -> None:
    fill(rivia.channel, ["a"])
    response = owner.get(PAGE, query)
    assert response.status_code == 200
    assert "errornote" in response.content.decode()
    assert "<tbody>" not in response.content.decode()


def test_it_can_only_be_read(owner: Client, rivia: Tenant) -> None:
    for method in (owner.post, owner.put, owner.delete):
        assert method(PAGE).status_code == 405
    assert not LogEntry.objects.exists()
