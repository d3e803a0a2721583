"""The import law and the sizes (DESIGN.md §7), as an AST walk. pyproject.toml has the layers, for import-linter."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
APP = ROOT / "channels_app"
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

CORE_PRIVATE = ("batcher", "dispatcher", "notifier")  # how the core does it; dialects call what is above them
CORE_BARE = ("types", "errors", "batcher", "recovery", "backoff", "token_bucket", "addresses")
LOG_MODELS = ("Counter", "IdempotencyKey", "Lease", "Message", "Purge", "RoomHead")


def files(*parts: str) -> list[Path]:
    folder = APP.joinpath(*parts)
    found = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    return [path for path in found if "migrations" not in path.parts]


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything the file imports: `from a.b import c` counts as `a.b.c`."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            prefix = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{prefix}.{each.name}") for each in node.names)


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def importers(paths: list[Path], *packages: str) -> list[str]:
    """Where the files import one of the packages, as `file:line name`."""
    return [
        f"{path.relative_to(ROOT)}:{line} {name}" for path in paths for line, name in imports(path) if is_in(name, *packages)
    ]


def log_models() -> list[str]:
    return ["channels_app.models.log", *(f"channels_app.models.{name}" for name in LOG_MODELS)]


def test_the_walk_sees_absolute_and_relative_imports() -> None:
    assert importers(files("core", "publishing.py"), "channels_app.core.batcher")
    assert importers(files("core", "publishing.py"), "channels_app.conf")
    assert importers(files("dialects", "syncano"), "channels_app.dialects.base")


def test_the_log_models_listed_here_are_all_of_them() -> None:
    classes = [node.name for node in parse(APP / "models" / "log.py").body if isinstance(node, ast.ClassDef)]
    assert sorted(classes) == sorted(LOG_MODELS)


def test_a_dialect_uses_neither_the_log_nor_the_channel_layer_nor_transactions() -> None:
    assert not importers(files("dialects"), *log_models(), "channels.layers", "django.db.transaction", "django.db.connection")


def test_a_dialect_imports_only_the_cores_public_modules() -> None:
    assert not importers(files("dialects"), *(f"channels_app.core.{name}" for name in CORE_PRIVATE))


def test_a_dialect_imports_of_this_project_only_what_it_may() -> None:
    for folder in (path for path in (APP / "dialects").iterdir() if path.is_dir() and path.name != "__pycache__"):
        own = f"channels_app.dialects.{folder.name}"
        shared = [f"channels_app.dialects.{path.stem}" for path in (APP / "dialects").glob("*.py")]
        allowed = ("channels_app.core", "channels_app.conf", "channels_app.models", own, *shared)
        others = [
            f"{path.relative_to(ROOT)}:{line} {name}"
            for path in files("dialects", folder.name)
            for line, name in imports(path)
            if is_in(name, "channels_app", "pubsub_site") and not is_in(name, *allowed)
        ]
        assert not others


def test_the_core_knows_no_web_framework_and_no_dialect() -> None:
    outside = [f"channels_app.{name}" for name in ("dialects", "server", "admin", "management", "checks")]
    frameworks = ["rest_framework", "drf_spectacular", "django.http", "django.urls", "channels.generic", "channels.consumer"]
    assert not importers(files("core"), *outside, *frameworks)


def test_models_import_nothing_of_the_core() -> None:
    assert not importers(files("models"), "channels_app.core", "channels_app.dialects", "channels_app.server")


def test_the_bare_modules_of_the_core_import_nothing_of_django() -> None:
    bare = [APP / "core" / f"{name}.py" for name in CORE_BARE]
    assert not importers(bare, "django", "channels", "channels_app.conf", "channels_app.models")


def test_only_the_notifier_uses_the_channel_layer() -> None:
    allowed = {APP / "core" / "notifier.py", APP / "core" / "redis_layer.py"}
    assert not importers([path for path in files() if path not in allowed], "channels.layers", "channels_redis")


def test_only_delivery_sends_requests_to_others() -> None:
    others = [path for path in files() if path != APP / "core" / "delivery.py"]
    assert not importers(others, "aiohttp", "httpx", "requests", "urllib.request", "http.client")


def test_only_the_log_and_the_read_only_admin_use_the_logs_models() -> None:
    allowed = {APP / "core" / "log.py", *files("admin"), *files("models")}
    assert not importers([path for path in files() if path not in allowed], *log_models())


def test_only_the_batcher_and_the_way_to_the_database_own_threads() -> None:
    allowed = {APP / "core" / "batcher.py", APP / "core" / "database.py"}
    others = [path for path in files() if path not in allowed]
    found = importers(others, "threading", "_thread", "concurrent.futures.ThreadPoolExecutor", "multiprocessing")
    assert not [place for place in found if not place.endswith(" threading.Lock")]  # a lock starts nothing


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    checked = [*files(), *(ROOT / "pubsub_site").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in checked}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES}


def test_no_function_is_longer_than_a_page() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MAX_FUNCTION_LINES
    ]
