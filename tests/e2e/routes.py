"""Every route of the API, from its own OpenAPI schema: a route that is added is in these tests without a word."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from drf_spectacular.generators import SchemaGenerator

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Route:
    """`path` has its parameters in braces, as the schema does."""

    path: str
    methods: tuple[str, ...]

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def filled(self, values: Mapping[str, str]) -> str:
        return self.path.format_map(values)


@functools.cache
def routes() -> tuple[Route, ...]:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    return tuple(Route(path, tuple(method for method in METHODS if method in found)) for path, found in sorted(paths.items()))
