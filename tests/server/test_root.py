"""What somebody finds who only knows the address."""

from django.test import Client


def test_the_root_says_where_things_are():
    answer = Client().get("/", headers={"host": "localhost:8000"})
    assert answer.json() == {
        "api": "http://localhost:8000/v1.1/",
        "docs": "http://localhost:8000/api/docs/",
        "schema": "http://localhost:8000/api/schema/",
        "admin": "http://localhost:8000/admin/",
    }


def test_each_of_those_places_answers(db):
    for url in Client().get("/").json().values():
        assert Client().get(url.removeprefix("http://testserver")).status_code in (200, 302), url
