"""What is asked about the process itself: `/livez`, `/readyz` and `/metrics`, in front of Django.

`/livez` answers as long as the event loop turns. `/readyz` says 503 when requests should go elsewhere, and why. Both need no
key and tell no secret: their reasons are the few texts below. `/metrics` is for the holder of `PUBSUB_METRICS_TOKEN`;
without one, for this machine.
"""

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable

from django.db import Error as DatabaseFailure
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from channels_app.conf import conf
from channels_app.core import hub, notifier
from channels_app.core.database import in_thread, missing_migrations, ping
from channels_app.dialects.base import Response
from channels_app.dialects.live import address_of, header_list, headers_of, json_response, send_response

from .asgi import Application, Receive, Scope, Send

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
FORWARDED = {"forwarded", "via", "x-forwarded-for", "x-real-ip"}  # a proxy on this machine is not who asks

DRAINING = "draining: this process is ending"
NO_DATABASE = "database: it does not answer"
NOT_MIGRATED = "database: migrations are missing"
NO_CHANNEL_LAYER = "channel layer: it does not answer; messages of other processes arrive by the safety poll"


class Health:
    """Answers the three paths, and passes everything else on. `is_private`: only who may see metrics can reach the address."""

    def __init__(self, application: Application, *, is_private: bool = False) -> None:
        self._application = application
        self._is_private = is_private
        self._readiness = Readiness()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        paths = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}
        answer = paths.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self._application(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await send_response(send, _json(405, {"detail": "Method not allowed."}, Allow="GET, HEAD"))
        else:
            await send_response(send, await answer(scope))

    async def _livez(self, scope: Scope) -> Response:
        return _json(200, {"status": "alive"})

    async def _readyz(self, scope: Scope) -> Response:
        troubles, limitations = await self._readiness.look()
        status = "unavailable" if troubles else "degraded" if limitations else "ready"
        reasons = troubles + limitations
        return _json(503 if troubles else 200, {"status": status, **({"reasons": reasons} if reasons else {})})

    async def _metrics(self, scope: Scope) -> Response:
        if conf.METRICS_TOKEN:
            if not _has_token(scope):
                return _json(401, {"detail": "A token is needed."}, **{"WWW-Authenticate": "Bearer"})
        elif not (self._is_private or _is_from_this_machine(scope)):
            return _json(403, {"detail": "Without PUBSUB_METRICS_TOKEN this is for clients on the server's machine."})
        return Response(200, header_list({"Content-Type": CONTENT_TYPE_LATEST}), generate_latest())


class Readiness:
    """Whether this process should be sent requests. Logs when the answer changes."""

    def __init__(self) -> None:
        self._database = Probe(self._ask_database, NO_DATABASE)
        self._channel_layer = Probe(_ask_channel_layer, NO_CHANNEL_LAYER)
        self._is_migrated = False
        self._told: list[str] = []

    async def look(self) -> tuple[list[str], list[str]]:
        """What keeps it from serving, and what it can do without."""
        if hub.is_leaving():
            return [DRAINING], []
        database, channel_layer = await asyncio.gather(self._database.trouble(), self._channel_layer.trouble())
        troubles, limitations = list(filter(None, [database])), list(filter(None, [channel_layer]))
        self._tell(troubles + limitations)
        return troubles, limitations

    def _tell(self, reasons: list[str]) -> None:
        if reasons != self._told:
            self._told = reasons
            logger.warning("Readiness: %s", "; ".join(reasons) or "everything is back")

    async def _ask_database(self) -> str:
        try:
            return await in_thread(self._look_at_database)
        except DatabaseFailure:
            return NO_DATABASE

    def _look_at_database(self) -> str:
        ping()
        self._is_migrated = self._is_migrated or not missing_migrations()
        return "" if self._is_migrated else NOT_MIGRATED


async def _ask_channel_layer() -> str:
    try:
        await notifier.check()
    except Exception:  # noqa: BLE001  (whatever a broken Redis raises)
        return NO_CHANNEL_LAYER
    return ""


class Probe:
    """A question that may hang. It is asked once at a time, whoever wants to know: probes must not pile up."""

    def __init__(self, ask: Callable[[], Awaitable[str]], no_answer: str) -> None:
        self._ask = ask
        self._no_answer = no_answer
        self._asking: asyncio.Future[str] | None = None

    async def trouble(self) -> str:
        """The answer: what is wrong, or nothing."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        answered, _ = await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
        return answered.pop().result() if answered else self._no_answer


def _has_token(scope: Scope) -> bool:
    scheme, _, token = headers_of(scope).get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), conf.METRICS_TOKEN.encode())


def _is_from_this_machine(scope: Scope) -> bool:
    try:
        return ipaddress.ip_address(address_of(scope)).is_loopback and not FORWARDED & headers_of(scope).keys()
    except ValueError:  # a Unix socket has no address
        return False


def _json(status: int, body: dict[str, object], **headers: str) -> Response:
    return json_response(status, body, {"Cache-Control": "no-store", **headers})


async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    """What an address of its own for these paths answers to every other one."""
    if scope["type"] == "http":
        await send_response(send, _json(404, {"detail": "Not found."}))
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})
