"""The words that pages say, as found in the source, and the catalogues that hold them in other languages.

    python tests/messages.py     bring the catalogues up to date: new words come in untranslated, words that nobody says go out

What is raised as a literal is found too, for the console shows errors.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rollout.errors import all_errors  # noqa: E402
from rollout.web.language import LANGUAGES, SOURCE  # noqa: E402

SPEAKING = ("admin", "rollout/api", "rollout/web")
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
OPTIONS = {"**.html": {"silent": "false", "trimmed": "true"}}


PARTNERS_ALONE = (
    "admin/api/",
    "rollout/api/",
    "rollout/db/",
    "rollout/providers/",
    "rollout/core/analyses",
    "rollout/core/catalogue",
    "rollout/core/chats",
    "rollout/core/extensions",
    "rollout/core/images",
    "rollout/core/inline_pictures",
    "rollout/core/input_images",
    "rollout/core/members",
    "rollout/core/moderations",
    "rollout/core/pictures",
    "rollout/core/prices",
    "rollout/core/products",
    "rollout/core/rehearsal",
    "rollout/core/tasks",
    "rollout/core/thinking",
    "rollout/services/analysis_results",
    "rollout/services/models",
    "rollout/services/product_tables",
    "rollout/services/sandbox",
    "rollout/services/task",
    "rollout/services/upstream",
    "rollout/services/admission",
    "rollout/web/auth",
    "rollout/web/body",
)
"""Where sentences around values are made that no page says of itself: a refusal's story quotes what its caller was told."""

VALIDATOR = (
    "Field required.",
    "Input should be a valid integer.",
    "Input should be a valid integer, unable to parse string as an integer.",
    "Input should be a valid string.",
    "Input should be greater than or equal to {}.",
    "Input should be less than or equal to {}.",
    "Extra inputs are not permitted.",
    "String should have at most {} characters.",
    "Must be a date such as 2027-03-01, or a time such as 2027-03-01T17:00.",
    "Must lie between the years 2000 and 2200.",
)
"""What the validator of forms says."""

FINDINGS = ("Fault", "Doubt", "Notice")
"""What checks find, each a sentence and where it stands. (A provider's Fault is another: it is read by operators alone.)"""

FEW = 8
"""A sentence with fewer letters of its own around its values would be found in anything."""


def said() -> Catalog:
    """Every message: of templates and Python, the errors' own words, and what is raised word for word."""
    found = Catalog(fuzzy=False)
    for folder in SPEAKING:
        for _, _, message, _, _ in extract_from_dir(ROOT / folder, METHODS, OPTIONS, keywords=KEYWORDS):
            found.add(message)
    for error in all_errors():
        found.add(error.default_message())
        found.add(error.remedy)
    for text in (*raised(), *VALIDATOR):
        found.add(text)
    return found


def raised() -> Iterator[str]:
    """Messages and remedies of errors, with `{}` for values: the console shows them too."""
    errors = {error.__name__ for error in all_errors()}
    for file in (path for folder in ("rollout", "admin") for path in (ROOT / folder).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        names = errors if "providers.base" in source or "providers" in file.parts else errors.union(FINDINGS)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                told = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "remedy")]
                yield from filter(None, (_sentence(one, file) for one in told))


def _sentence(node: ast.expr, file: Path) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr) or str(file.relative_to(ROOT)).startswith(PARTNERS_ALONE):
        return None
    parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
    return "".join(parts) if sum(map(str.isalpha, "".join(parts))) >= FEW else None


def file_of(language: str) -> Path:
    return ROOT / f"rollout/web/translations/{language}.po"


def catalogue(language: str) -> Catalog:
    file = file_of(language)
    if not file.exists():
        return Catalog(locale=language, fuzzy=False)
    with file.open("rb") as source:
        return read_po(source, locale=language)


def update(language: str) -> None:
    kept = catalogue(language)
    fresh = Catalog(locale=language, project="Phasegate", charset="utf-8", fuzzy=False)
    for message in said():
        if message.id:
            before = kept.get(message.id)
            fresh.add(message.id, before.string if before is not None else None, flags=message.flags)
    with file_of(language).open("wb") as out:
        write_po(out, fresh, omit_header=True, sort_output=True, width=140)


if __name__ == "__main__":
    for code in LANGUAGES:
        if code != SOURCE:
            update(code)
