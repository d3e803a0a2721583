"""A service's webhook on the real server: who comes and goes is told, in forms that Twilio's own validator believes."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl

import pytest
import websockets.sync.client
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import SyncGrant
from twilio.request_validator import RequestValidator

from channels_app.dialects.twilio.realtime.frames import encode

from .deployment import Deployment, Server, Template
from .sync_service import SyncService


class Hook:
    """Where webhooks go. `next` waits for one, and gives what it says if it is genuine."""

    def __init__(self, port: int, requests: "queue.Queue[tuple[bytes, str]]", token: str) -> None:
        self.url = f"http://127.0.0.1:{port}/hook?from=sync"
        self._requests, self._validator = requests, RequestValidator(token)

    def next(self) -> dict[str, str]:
        body, signature = self._requests.get(timeout=20)
        form = dict(parse_qsl(body.decode()))
        assert self._validator.validate(self.url, form, signature)
        return form


@pytest.fixture
def hook(template: Template) -> Iterator[Hook]:
    requests: queue.Queue[tuple[bytes, str]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.put((body, self.headers["X-Twilio-Signature"]))
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Hook(server.server_port, requests, template.credentials["twilio"]["auth_token"])
    server.shutdown()
    server.server_close()


@contextmanager
def connected(server: Server, service: SyncService, identity: str) -> Iterator[None]:
    given = service.credentials
    token = AccessToken(given["account_sid"], given["api_key_sid"], given["api_key_secret"], identity=identity)
    token.add_grant(SyncGrant(service_sid=service.sid))
    with websockets.sync.client.connect(f"{server.url.replace('http', 'ws', 1)}/v3/wsconnect") as socket:
        socket.send(encode({"method": "init", "id": "TM1", "token": token.to_jwt(), "capabilities": []}))
        yield


def test_a_client_that_comes_and_goes_is_told(deployment: Deployment, template: Template, hook: Hook) -> None:
    server = deployment.start(PUBSUB_PUSH_NETWORKS="127.0.0.0/8")
    service = SyncService(server, template.credentials)
    settings = {"WebhookUrl": hook.url, "ReachabilityWebhooksEnabled": "true"}
    assert service.client.post(service.path, data=settings).status_code == 200
    with connected(server, service, "ciri & co"):
        come = hook.next()
    gone = hook.next()
    assert come == {
        "EventType": "endpoint_connected",
        "Identity": "ciri & co",
        "EndpointId": come["EndpointId"],
        "AccountSid": service.credentials["account_sid"],
        "ServiceSid": service.sid,
    }
    assert gone == {**come, "EventType": "endpoint_disconnected"}


def test_an_end_that_waits_for_its_window_is_told_before_the_server_ends(
    deployment: Deployment, template: Template, hook: Hook
) -> None:
    server = deployment.start(PUBSUB_PUSH_NETWORKS="127.0.0.0/8")
    service = SyncService(server, template.credentials)
    settings = {
        "WebhookUrl": hook.url,
        "ReachabilityWebhooksEnabled": "true",
        "ReachabilityDebouncingEnabled": "true",
        "ReachabilityDebouncingWindow": "30000",
    }
    assert service.client.post(service.path, data=settings).status_code == 200
    with connected(server, service, "ciri"):
        come = hook.next()
        server.terminate()
    assert hook.next() == {**come, "EventType": "endpoint_disconnected"}
