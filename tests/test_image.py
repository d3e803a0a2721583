"""Dockerfile and compose.yaml against the project they ship. What needs a Docker engine to be seen is not seen here."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from channels_app.management.commands import serve

from .test_docs import known_names

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
FIRST_LINES = (ROOT / "compose.yaml").read_text().split("\n\n", 1)[0]
OURS = [service for service in COMPOSE["services"].values() if "build" in service]


def copied() -> list[str]:
    """What is taken from the project, in every stage."""
    return [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]


def test_all_that_the_image_takes_is_there_and_let_through() -> None:
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied()) == sorted(let_through)
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_every_package_of_the_project_is_in_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(copied())


def test_the_image_does_not_serve_as_root() -> None:
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    (uid,) = re.findall(r"^USER ([1-9]\d*)$", last_stage, re.MULTILINE)  # a name would not do for Kubernetes' runAsNonRoot
    assert f"--uid {uid} " in last_stage
    assert last_stage.index("\nUSER ") < last_stage.index("\nCMD ")


def test_its_user_may_read_it_whatever_the_checkouts_umask_was() -> None:
    after_the_copies = DOCKERFILE[DOCKERFILE.rindex("\nCOPY ") :]
    assert after_the_copies.index("chmod --recursive go+rX .") < after_the_copies.index("\nUSER ")


def test_the_image_binds_what_it_exposes_and_asks_for_its_health_there() -> None:
    (command,) = re.findall(r"^CMD \[(.+)\]$", DOCKERFILE, re.MULTILINE)
    words = [word.strip('" ') for word in command.split(",")]
    _, port = serve.bind(words[words.index("--bind") + 1])
    assert f"EXPOSE {port}" in DOCKERFILE
    assert f"http://127.0.0.1:{port}/livez" in DOCKERFILE


@pytest.mark.parametrize("service", OURS, ids=lambda service: service.get("command", "serve"))
def test_compose_sets_only_variables_that_the_server_knows(service: dict[str, dict[str, str]]) -> None:
    assert service["environment"].keys() <= known_names()


@pytest.mark.parametrize("service", OURS, ids=lambda service: service.get("command", "serve"))
def test_every_setting_but_the_addresses_of_composes_own_services_can_be_set_in_its_env_file(
    service: dict[str, dict[str, str]],
) -> None:
    assert service["env_file"] == ".env"
    fixed = {name for name, value in service["environment"].items() if not value.startswith(f"${{{name}:")}
    assert fixed == {"DATABASE_URL", "REDIS_URL"}


def test_the_first_lines_of_compose_make_an_env_file_for_its_owner_alone_and_never_replace_it(tmp_path: Path) -> None:
    (command,) = re.findall(r"^#   (.+ > \.env\))$", FIRST_LINES, re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o777 == 0o600
    secrets = made.read_text()
    assert re.fullmatch(r"SECRET_KEY=\w{50,}\nPOSTGRES_PASSWORD=\w{50,}\n", secrets)
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True).returncode != 0
    assert made.read_text() == secrets


def test_the_env_file_gets_neither_into_the_repository_nor_into_the_image() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_compose_has_no_secret_of_its_own() -> None:
    for service in OURS:
        assert service["environment"]["SECRET_KEY"].startswith("${SECRET_KEY:?")
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_compose_waits_longer_than_a_drain_takes() -> None:
    seconds = int(COMPOSE["services"]["server"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= 20 + 10, "PUBSUB_DRAIN_SECONDS, and what docs/operations.md adds to it"


def test_compose_does_not_take_the_server_that_makes_the_database_for_postgres() -> None:
    """On the first start the image runs one on the socket alone, and stops it again before migrations could use it."""
    assert "--host=127.0.0.1" in COMPOSE["services"]["postgres"]["healthcheck"]["test"]
