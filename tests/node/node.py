"""Scripts run by Node, beside the packages that they ask for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes import give_up

import dev


def run_script(script: str, environ: Mapping[str, Any]) -> dict[str, Any]:
    """What a script of this folder prints, as JSON; what is no text in `environ` goes as JSON, too.

    It is read from standard input because Node looks for packages there.
    """
    node = dev.find_node()
    if node is None or not dev.NODE_MODULES.exists():
        give_up("NOT TESTED WITH NODE: `python3 dev.py test` fetches it")
    environment = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in environ.items()
    }
    done = subprocess.run(
        [node, "--input-type=module"], input=Path(__file__).with_name(script).read_text(), env=environment,
        cwd=dev.NODE_MODULES.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results
