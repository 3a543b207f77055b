"""Only `client.contribution` may carry anything of the vault towards a server: held on the imports and on the code."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import grimp
import pytest

from common.enrolment import Application

ROOT = Path(__file__).parents[3]
CLIENT = sorted((ROOT / "client").rglob("*.py"))
EXIT = "client.contribution"
SPEAKING = (
    "client.app", "client.node", "client.link", "client.federation", "client.doorstep", "client.join",
    "client.membership", "client.daemon.attendant",
)  # fmt: skip
"""What talks to a server, or decides what is said."""
DERIVED = (
    "client.vault", "client.photos", "client.lesson", "client.unfinished", "client.generate", "client.learn",
    "client.backbone", "client.terminal", "client.cli", "client.choices", "client.course", "client.web", "client.taste",
)  # fmt: skip
"""What knows pictures, prompts, names, or what became of them."""
NETWORKS = {
    "flwr", "socket", "ssl", "http", "urllib", "requests", "httpx", "aiohttp", "websockets", "grpc", "ftplib",
    "smtplib", "asyncio", "fastapi", "starlette", "uvicorn",
}  # fmt: skip


PAGE = {f"client.web.{name}" for name in ("api", "app", "gate", "opening", "serving", "views")}
"""What the person's own browser sees, on loopback."""
METADATA = {"importlib", "importlib.metadata", "importlib.metadata.version", "importlib.metadata.PackageNotFoundError"}
"""What of importlib tells versions and imports nothing."""


@pytest.fixture(scope="session")
def graph():
    return grimp.build_graph("client", "common", cache_dir=None)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Give the modules that a file names in imports, wherever they stand in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_derived(module):
    return any(module == name or module.startswith(f"{name}.") for name in DERIVED)


@pytest.mark.parametrize("speaking", SPEAKING)
def test_every_way_from_the_network_to_the_vault_goes_through_the_one_exit(graph, speaking):
    reached, waiting = set(), [speaking]
    while waiting:
        module = waiting.pop()
        if module in reached or module == EXIT:
            continue
        reached.add(module)
        waiting += graph.find_modules_directly_imported_by(module)
    assert not [module for module in reached if is_derived(module)]


def test_the_exit_is_really_on_the_way(graph):
    """Without this, a graph that sees nothing would pass the test above."""
    assert EXIT in graph.find_modules_directly_imported_by("client.app")
    assert "client.vault" in graph.find_modules_directly_imported_by(EXIT)
    assert [one for one in graph.find_modules_directly_imported_by(EXIT) if is_derived(one)] == ["client.vault"]


def test_only_four_modules_and_the_page_know_a_network():
    found = {name_of(path) for path in CLIENT if {name.split(".")[0] for name in imported(path)} & NETWORKS}
    assert found == {"client.app", "client.node", "client.link", "client.doorstep"} | PAGE


def test_the_page_is_asked_and_asks_nobody():
    """It listens on loopback (tests/unit/client/web/test_serving.py); `shoal open` alone asks, whether it is there."""
    page = [path for path in CLIENT if name_of(path).startswith("client.web.")]
    listening = {"fastapi", "starlette", "uvicorn"}
    for path in page:
        found = {name.split(".")[0] for name in imported(path)} & NETWORKS - listening
        allowed = {"client.web.serving": {"socket", "asyncio"}, "client.web.opening": {"urllib"}}
        assert found <= allowed.get(name_of(path), set()), path


def test_at_the_doorstep_nothing_of_the_person_is_known(graph):
    """What enrolment sends is made elsewhere, and has the form of `common.enrolment.Application`."""
    found = graph.find_modules_directly_imported_by("client.doorstep")
    assert {one for one in found if one.startswith("client.")} == set()
    application = {field.name for field in fields(Application)}
    assert application == {"request", "node_key", "secret"}


def test_nothing_but_the_vault_reads_its_tables():
    allowed = {"client.vault", "client.database"}
    for path in CLIENT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and name_of(path) not in allowed:
                words = node.value.upper().split()
                assert not ({"SELECT", "UPDATE", "INSERT"} & set(words) and "CONCEPTS" in words), path


def test_nothing_is_imported_by_a_name_made_up_at_run_time():
    """Such an import would hide from the tests above."""
    for path in CLIENT:
        found = {name for name in imported(path) if name.split(".")[0] == "importlib"}
        assert not found or (found - {"importlib"} and found <= METADATA), path
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert not names & {"__import__", "eval", "exec"}, path


def test_of_the_exits_functions_the_app_uses_one_and_the_federation_asks_yes_or_no():
    found = {
        name_of(path): sorted(name for name in imported(path) if name.startswith(f"{EXIT}."))
        for path in CLIENT
        if EXIT in set(imported(path))
    }
    assert found == {
        "client.app": [f"{EXIT}.contribute"],
        "client.federation": [f"{EXIT}.announcement", f"{EXIT}.is_pending"],
    }


def test_the_exit_returns_only_the_masked_reply():
    """`contribute` returns one name, and that name is bound once: to what `mask` gave."""
    tree = ast.parse((ROOT / "client" / "contribution.py").read_text(encoding="utf-8"))
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "contribute"]
    [returned] = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    bound = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if returned.id in {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    ]
    assert [value.func.id for value in bound] == ["mask"]
    [body] = [node for node in function.body if isinstance(node, ast.With)]
    assert function.body.index(body) < len(function.body) - 1
    assert isinstance(function.body[-1], ast.Return)
