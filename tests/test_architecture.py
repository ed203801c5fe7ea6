"""The rules of the house: each import contract catches what it forbids; the rest is looked for in sources."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.db.tables import metadata

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("rollout", "admin") for path in (ROOT / package).rglob("*.py"))

PLANTED = [
    ("floors", {"rollout/core/planted.py": "import rollout.db.tables"}),
    ("floors", {"rollout/sync/planted.py": "import rollout.db.tables"}),
    ("floors", {"rollout/delivery/planted.py": "import rollout.providers.base"}),
    ("floors", {"rollout/services/planted.py": "def late():\n    import rollout.web.problems"}),
    ("floors", {"rollout/utils.py": ""}),
    ("admins-place", {"rollout/api/planted.py": "import admin"}),
    ("admins-place", {"admin/planted.py": "import rollout.api"}),
    ("admin-mounted-once", {"rollout/cli/planted.py": "import admin"}),
    ("through-services", {"admin/planted.py": "def late():\n    import rollout.db.tables"}),
    ("through-services", {"rollout/web/planted.py": "import rollout.providers.base"}),
    ("pure-core", {"rollout/core/planted.py": "import time"}),
    ("pure-core", {"rollout/core/planted.py": "def late():\n    import sqlalchemy"}),
    ("flask-stays-up", {"rollout/services/planted.py": "import flask"}),
    ("sdks-stay-down", {"rollout/services/planted.py": "import openai"}),
    (
        "sdks-stay-down",
        {"admin/planted.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import anthropic"},
    ),
    (
        "wires-apart",
        {"rollout/providers/planted.py": "import rollout.providers.other", "rollout/providers/other.py": ""},
    ),
    (
        "no-cycles",
        {
            "rollout/core/planted.py": "import rollout.core.other",
            "rollout/core/other.py": "def late():\n    import rollout.core.planted",
        },
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the contracts look at, for planting."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("rollout", "admin"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def plant(tree: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Put the violation into the tree for one test, and give the contract's id."""
    contract, files = request.param
    for name, source in files.items():
        (tree / name).write_text(source)
    yield contract
    for name in files:
        (tree / name).unlink()


def lint(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_every_contract_holds_and_there_are_nine(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 9 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    "plant",
    PLANTED,
    indirect=True,
    ids=[f"{contract}-{number}" for number, (contract, *_) in enumerate(PLANTED)],
)
def test_a_planted_violation_breaks_its_contract(tree: Path, plant: str) -> None:
    done = lint(tree, "--contract", plant)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout


def test_every_contract_has_a_planted_violation() -> None:
    contracts = set(re.findall(r'^id = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    assert contracts == {contract for contract, *_ in PLANTED}


def test_the_environment_is_read_in_wiring_and_cli_only() -> None:
    readers = places(r"\bos\.(environ|getenv)\b")
    assert all(name == "rollout/wiring.py" or name.startswith("rollout/cli/") for name in readers), readers


def test_only_services_open_transactions_and_nobody_commits_by_hand() -> None:
    assert places(r"\.commit\(") == set()
    openers = {name for name in names() if any(map(opens_a_transaction, ast.walk(parsed(name))))}
    others = {name for name in openers if not name.startswith("rollout/services/")}
    assert others == {"rollout/db/migrate.py"}, others  # a migration is its own transaction


def test_the_core_asks_no_clock_and_opens_nothing() -> None:
    """What an import check cannot see: `datetime` is a value there, and `open` needs no import."""
    forbidden = r"\b(datetime|date)\.(now|today|utcnow)\(|(?<![\w.])(open|print|input)\("
    assert not [name for name in places(forbidden) if name.startswith("rollout/core/")]


def test_packages_are_places_not_modules() -> None:
    """An import of the package itself is what ties the big knots; admin's holds `create_blueprint`."""
    full = {name for name in names() if name.endswith("__init__.py") and (ROOT / name).read_text().strip()}
    assert full == {"admin/__init__.py"}


def test_a_function_lives_with_its_noun() -> None:
    assert not {name for name in names() if re.search(r"\b(utils?|common|helpers?|managers?)\b", name)}


def test_tenants_can_be_sharded() -> None:
    """Each table of a tenant has `tenant_id` first in its primary key or in an index."""
    other = {"kill"}  # read whole into every snapshot
    for table in metadata.tables.values():
        if "tenant_id" in table.columns and table.name not in other:
            starts = [next(iter(keys.columns)).name for keys in (table.primary_key, *table.indexes)]
            assert "tenant_id" in starts, table.name


def test_help_imports_click_alone() -> None:
    program = (
        "import sys\n"
        "from rollout.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "files = {name: getattr(module, '__file__', None) or '' for name, module in sys.modules.items()}\n"
        "foreign = {name.partition('.')[0] for name, file in files.items() if 'site-packages' in file}\n"
        "print(*foreign, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "serve" in done.stdout
    assert set(done.stderr.split()) <= {"click", "_virtualenv", "_distutils_hack"}, done.stderr


def names() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in SOURCES]


def places(pattern: str) -> set[str]:
    """The files whose source has `pattern`."""
    return {name for name in names() if re.search(pattern, (ROOT / name).read_text())}


def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text())


def opens_a_transaction(node: ast.AST) -> bool:
    """`with x.read()` or `with x.write()`."""
    calls = [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
    return any(
        isinstance(call, ast.Call)
        and not call.args
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("read", "write")
        for call in calls
    )
