"""What `rollout check` looks at, one function a line of its report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from rollout.errors import RolloutError
from rollout.services.registry import Services
from rollout.settings import Settings, unknown_variables

Result = dict[str, str]


def run(settings: Settings, environ: Mapping[str, str]) -> list[Result]:
    """`{"check", "state": "good" | "warning" | "wrong", "detail"}` for each check; the database is read only at the right schema."""
    from rollout.wiring import build

    unknown = unknown_variables(environ)
    with contextlib.closing(build(settings)) as services:
        schema = _looked("schema", _schema, services)
        readable = schema["state"] == "good"
        looks = {"ledger": _ledger, "audit chain": _audit, "vendors": _vendors} if readable else {}
        return [
            _result("settings", "warning" if unknown else "good", "; ".join(unknown) or "valid"),
            schema,
            *(_looked(name, look, services) for name, look in looks.items()),
        ]


def _looked(name: str, look: Callable[[Services], tuple[str, str]], services: Services) -> Result:
    try:
        return _result(name, *look(services))
    except RolloutError as error:
        cause = f" ({error.__cause__.__class__.__name__}: {error.__cause__})" if error.__cause__ else ""
        return _result(name, "wrong", f"{error.message}{cause}")


def _schema(services: Services) -> tuple[str, str]:
    from rollout.db import migrate

    current, head = migrate.current(services.settings.database), migrate.head()
    return (
        ("good", str(current))
        if current == head
        else ("wrong", f"at {current or 'nothing'}, needs {head}: run `rollout migrate`")
    )


def _ledger(services: Services) -> tuple[str, str]:
    differences = services.verifications.differences()
    return ("wrong", "; ".join(differences)) if differences else ("good", "the books are clean")


def _audit(services: Services) -> tuple[str, str]:
    found = services.audit.verify()
    return ("wrong", found) if found else ("good", "unbroken")


def _vendors(services: Services) -> tuple[str, str]:
    """A vendor that nobody configured is a choice; a feature that nobody answers is not."""
    from rollout.core.decisions import FEATURES
    from rollout.services.providers import configured

    services.state.refresh()
    settings = services.settings
    answering = [] if settings.sandbox == "on" else configured(settings)
    models = [one for one in services.catalogue().models if one.enabled and one.lifecycle != "retired"]
    answered = {model.feature for model in models if model.vendor in answering}
    missing = [feature for feature in FEATURES if feature not in answered]
    told = f"configured: {', '.join(answering) or 'none'}"
    if settings.sandbox != "off":
        return "good", f"{told}; the sandbox answers for the others"
    return ("warning", f"{told}; nobody answers {', '.join(missing)}") if missing else ("good", told)


def _result(name: str, state: str, detail: str) -> Result:
    return {"check": name, "state": state, "detail": detail}
