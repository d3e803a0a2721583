"""The API's own documentation (`/api/schema/`) is whole and valid."""

import pytest
from django.urls import URLPattern, URLResolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from channels_app.dialects.syncano.urls import API, INSTANCE
from channels_app.dialects.syncano.views.base import SyncanoViewSet


@pytest.fixture(scope="module")
def schema() -> dict:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)


def test_it_is_made_without_a_warning_and_valid(schema: dict) -> None:
    assert not GENERATOR_STATS
    validate_schema(schema)


def view_of(route: URLPattern | URLResolver) -> type:
    """The class behind a route; one without a class is no operation."""
    return getattr(getattr(route, "callback", None), "cls", object)


def test_it_has_every_route_once(schema: dict) -> None:
    routes = [each for each in (*API, *INSTANCE) if issubclass(view_of(each), SyncanoViewSet)]
    assert len(schema["paths"]) == len(routes)
    assert all(path.startswith("/v1.1/") for path in schema["paths"])


def test_every_operation_has_a_summary_a_tag_and_its_refusals(schema: dict) -> None:
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["tags"] != [""]
            assert {"403", "404", "429", "503"} <= operation["responses"].keys()


def test_publish_names_its_idempotency_key(schema: dict) -> None:
    publish = schema["paths"]["/v1.1/instances/{instance}/channels/{channel}/publish/"]["post"]
    headers = [parameter["name"] for parameter in publish["parameters"] if parameter["in"] == "header"]
    assert headers == ["Idempotency-Key"]
    assert {"200", "201", "400", "409", "413", "415", "507"} <= publish["responses"].keys()
