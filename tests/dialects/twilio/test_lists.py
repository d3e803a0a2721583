"""Lists and their pages (wire/twilio.md §5; cases 57-59)."""

import pytest

from channels_app.dialects.twilio.pagination import Position

META = ["first_page_url", "key", "next_page_url", "page", "page_size", "previous_page_url", "url"]


@pytest.fixture
def full(service):
    """A service with 25 streams; their SIDs in the order in which they were made."""
    return [service.post("Streams", UniqueName=f"stream-{number}")["sid"] for number in range(25)]


def sids(page):
    return [stream["sid"] for stream in page["streams"]]


def test_all_seven_keys_are_there_also_of_an_empty_list(service):
    page = service.get("Streams")
    url = f"http://testserver{service.base}Streams?PageSize=50&Page=0"
    assert page.body == {
        "meta": {
            "page": 0,
            "page_size": 50,
            "first_page_url": url,
            "previous_page_url": None,
            "url": url,
            "next_page_url": None,
            "key": "streams",
        },
        "streams": [],
    }


def test_services_are_listed_in_the_same_way(rest):
    made = [rest.post("Services")["sid"] for _ in range(3)]
    page = rest.get("Services?PageSize=2")
    assert sorted(page["meta"]) == META
    assert page["meta"]["key"] == "services"
    last = rest.get(page["meta"]["next_page_url"])
    assert [each["sid"] for each in (*page["services"], *last["services"])] == made
    assert last["meta"]["next_page_url"] is None


def test_following_the_links_gives_each_once_in_the_order_of_making_and_back(service, full):
    for size in [1, 7, 12, 25, 26]:
        page, pages = service.get(f"Streams?PageSize={size}"), []
        while True:
            assert (page["meta"]["page"], page["meta"]["page_size"]) == (len(pages), size)
            pages.append(page)
            if page["meta"]["next_page_url"] is None:
                break
            page = service.get(page["meta"]["next_page_url"])
        assert [sid for each in pages for sid in sids(each)] == full
        for before in reversed(pages[:-1]):
            page = service.get(page["meta"]["previous_page_url"])
            assert sids(page) == sids(before)
        assert page["meta"]["previous_page_url"] is None
        assert page["meta"]["page"] == 0, size


def test_a_page_has_its_own_address(service, full):
    second = service.get(service.get("Streams?PageSize=10")["meta"]["next_page_url"])
    assert service.get(second["meta"]["url"]).body == second.body
    assert sids(service.get(second["meta"]["first_page_url"])) == full[:10]


def test_what_goes_meanwhile_moves_nothing_else(service, full):
    first = service.get("Streams?PageSize=10")
    for sid in full[5:15]:
        service.delete(f"Streams/{sid}")
    assert sids(service.get(first["meta"]["next_page_url"])) == full[15:]


def test_a_page_size_that_cannot_be_is_refused(service):
    for size in ["0", "-1", "abc", "1001", "", "٣", "1e2", "9" * 5_000]:
        assert service.get(f"Streams?PageSize={size}").error == (400, 54454), size


def test_more_than_a_hundred_is_a_hundred(service):
    for size in [101, 500, 1000]:
        assert service.get(f"Streams?PageSize={size}")["meta"]["page_size"] == 100, size


def test_an_unknown_token_is_refused(service):
    for token in [
        "garbage",
        "",
        "PT",
        "PTgarbage",
        "PTW10",
        "PTe30",
        "PTeyJhIjoxfQ",
        "PT%00",
        "PTé",
        "eyJhZnRlciI6MX0",
        "PT====",
        "PT!",
    ]:
        assert service.get(f"Streams?PageToken={token}").error == (400, 54453), token


def test_a_token_for_what_is_no_row_is_refused(service):
    for key in [-1, 2**63, True, None, "1", 1.0]:
        token = Position(key).token()
        assert service.get(f"Streams?PageToken={token}").error == (400, 54453), key


def test_a_page_number_that_is_none_is_refused(service):
    for page in ["-1", "x", ""]:
        assert service.get(f"Streams?Page={page}").error == (400, 20001), page


def test_a_token_shows_nothing_of_others(service, full, stranger):
    token = service.get("Streams?PageSize=1")["meta"]["next_page_url"].split("PageToken=")[1]
    theirs = stranger.at(f"/v1/Services/{stranger.post('Services')['sid']}/")
    assert theirs.get(f"Streams?PageToken={token}")["streams"] == []
