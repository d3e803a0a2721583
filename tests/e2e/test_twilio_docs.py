"""The examples of docs/twilio.md and of the README, each run as it stands there, against the real server."""

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from channels_app.dialects.twilio import webhooks

from .deployment import Server, Template
from .sync_service import SyncService
from .twilio_driver import node_command

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MESSAGE = r"TZ[0-9a-f]{32} \{ ?'?x'?: 256, '?y'?: 42 ?\}\n"
PATIENCE = 20  # seconds for what a program does


def examples(page: str, language: str) -> list[str]:
    """Those about Twilio, in the order of the page."""
    found = EXAMPLE.findall((ROOT / page).read_text())
    return [text for name, text in found if name == language and "twilio" in text]


PYTHON, NODE = (examples("docs/twilio.md", language) for language in ("python", "js"))
(PUBLISH, WITH_CLIENT, TOKEN, WEBHOOK), (NODE_PUBLISH, NODE_WITH_CLIENT, NODE_TOKEN, LISTEN) = PYTHON, NODE
[README_PUBLISH], [README_NODE_PUBLISH, README_LISTEN] = (examples("README.md", language) for language in ("python", "js"))


@pytest.fixture(scope="module")
def server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = template.deploy(tmp_path_factory.mktemp("twilio-docs")).start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def service(server: Server, credentials: dict[str, str]) -> Iterator[SyncService]:
    """In which no example has been run yet."""
    service = SyncService(server, credentials)
    yield service
    service.client.delete(f"{service.path}/Streams/heatmap")


@pytest.fixture
def real(server: Server, service: SyncService) -> Callable[[str], str]:
    """An example with the server's own address and credentials in it."""
    told = service.credentials
    meant = {
        "127.0.0.1:8000": server.url.removeprefix("http://"),
        '"AC…"': f'"{told["account_sid"]}"',
        '"auth token"': f'"{told["auth_token"]}"',
        '"IS…"': f'"{told["service_sid"]}"',
        '"demo-instance"': f'"{service.sid}"',  # called so on a new server, where `make run` made it
        '"SK…"': f'"{told["api_key_sid"]}"',
        '"secret of SK…"': f'"{told["api_key_secret"]}"',
    }

    def filled_in(example: str) -> str:
        for placeholder, value in meant.items():
            example = example.replace(placeholder, value)
        assert "…" not in example
        return example

    return filled_in


def run_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout


def run_node(program: str) -> str:
    (node, _), environment = node_command("twilio_driver.js")
    return subprocess.run([node, "-e", program], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


class Listener:
    """A Node program that goes on until the test has seen enough of its lines."""

    def __init__(self, program: str) -> None:
        (node, _), environment = node_command("twilio_driver.js")
        self._process = subprocess.Popen([node, "-e", program], stdout=subprocess.PIPE, text=True, env=environment)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def line(self, patience: float = PATIENCE) -> str:
        """The next one. Raises queue.Empty."""
        return self._lines.get(timeout=patience)

    def line_after(self, act: Callable[[], object]) -> str:
        """The next one, which something must bring about that may have to be repeated until the program listens."""
        for _ in range(PATIENCE):
            act()
            try:
                return self.line(patience=1)
            except queue.Empty:
                continue
        raise AssertionError("nothing was printed")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    started: list[Listener] = []

    def start(program: str) -> Listener:
        started.append(Listener(program))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_the_libraries_publish_in_python_and_node(real: Callable[[str], str]) -> None:
    assert re.fullmatch(MESSAGE, run_python(real(PUBLISH)))
    assert re.fullmatch(MESSAGE, run_node(real(NODE_PUBLISH)))


def test_the_readme_publishes(real: Callable[[str], str]) -> None:
    for printed in (run_python(real(README_PUBLISH)), run_node(real(README_NODE_PUBLISH))):
        assert re.fullmatch(r"TZ[0-9a-f]{32}\n", printed)


def test_an_http_client_of_ones_own_reaches_the_server(real: Callable[[str], str], service: SyncService) -> None:
    assert service.sid in run_python(real(WITH_CLIENT))
    assert service.sid in run_node(real(NODE_WITH_CLIENT))


def test_both_libraries_make_the_same_token(real: Callable[[str], str], service: SyncService) -> None:
    secret, account = (service.credentials[name] for name in ("api_key_secret", "account_sid"))
    for token in (run_python(real(TOKEN)), run_node(real(NODE_TOKEN))):
        claims = jwt.decode(token.strip(), secret, algorithms=["HS256"])
        assert (claims["sub"], claims["grants"]["identity"]) == (account, "alice")
        assert claims["grants"]["data_sync"] == {"service_sid": service.sid}


def test_a_listener_hears_itself_others_and_the_end(
    real: Callable[[str], str], service: SyncService, listen: Callable[[str], Listener]
) -> None:
    token = run_python(real(TOKEN)).strip()
    listener = listen(f'{real(LISTEN)}\nlisten("{token}");')
    assert re.fullmatch(r"TZ[0-9a-f]{32} \{ x: 1, y: 2 \}\n", listener.line())
    heard = listener.line_after(lambda: service.publish("heatmap", '{"x": 256, "y": 42}'))
    assert re.fullmatch(MESSAGE, heard)
    service.client.delete(f"{service.path}/Streams/heatmap")
    while (line := listener.line()) != "The stream is gone.\n":
        assert re.fullmatch(MESSAGE, line)


def test_the_readme_listens(real: Callable[[str], str], service: SyncService, listen: Callable[[str], Listener]) -> None:
    token = run_python(real(TOKEN)).strip()
    listener = listen(f'const token = "{token}";\n{real(README_LISTEN)}')
    assert listener.line_after(lambda: service.publish("lobby", '{"text": "Hello"}')) == "{ text: 'Hello' }\n"


def test_the_library_believes_our_webhooks_and_no_others(real: Callable[[str], str], service: SyncService) -> None:
    names: dict[str, Callable[[str, dict[str, str], str], bool]] = {}
    exec(real(WEBHOOK), names)  # our own page
    url, form = "https://backend.example/sync", {"EventType": "endpoint_connected", "Identity": "alice"}
    signature = webhooks.signature(service.credentials["auth_token"], url, form)
    assert names["is_genuine"](url, form, signature)
    assert not names["is_genuine"](url, {**form, "Identity": "bob"}, signature)
