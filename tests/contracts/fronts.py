"""The two fronts of publishing, the view and the express lane, and the comparison of what they answer."""

import re
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application

from channels_app.server.application import BodyLimit
from channels_app.server.express import ExpressLane
from channels_app.server.live_routes import LiveRoutes

MATTER = (
    *("content-type", "retry-after", "www-authenticate", "access-control-allow-origin", "access-control-expose-headers"),
    "vary",
)


class Fronts:
    """The same request to both; `express` counts how many were answered in front of Django.

    `module`: the dialect's express module, whose `_publish` answers. `path`: where requests go. `differs`: what two answers to
    the same publish cannot have in common.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, path: str, differs: re.Pattern[bytes]) -> None:
        django = get_asgi_application()
        self.express = 0
        self._path, self._differs = path, differs
        publish = module._publish

        async def counted(*arguments: Any) -> Any:
            answer = await publish(*arguments)
            self.express += answer is not None
            return answer

        monkeypatch.setattr(module, "_publish", counted)
        self._fronts = [BodyLimit(LiveRoutes(django)), ExpressLane(BodyLimit(LiveRoutes(django)))]

    async def both(self, path: str = "", **request: Any) -> httpx.Response:
        view, lane = [await self._ask(front, path or self._path, request) for front in self._fronts]
        assert lane.status_code == view.status_code
        assert self._differs.sub(b"", lane.content) == self._differs.sub(b"", view.content)
        for name in MATTER:
            assert lane.headers.get(name) == view.headers.get(name), name
        return lane

    async def view(self, **request: Any) -> httpx.Response:
        return await self._ask(self._fronts[0], self._path, request)

    async def _ask(self, front: Any, path: str, request: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://test") as client:
            return await client.post(path, **request)
