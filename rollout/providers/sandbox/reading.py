"""What the sandbox says of pictures where a schema asks for it: their header, their colours, and the label that a PNG
carries as text. It reads no pixels, and knows nothing that does not stand there.

`Label` is the keyword of a PNG's text chunk: one line a statement, `Net weight: 400 g` or words alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from PIL import Image

from rollout.core.products import words
from rollout.core.schemas import Known

KEYWORD = "Label"
_MATCHES = 3
_NOBODY = "SANDBOX: no model looked at this."
_MEASURE = re.compile(r"([\d.,]+) ?([A-Za-z%°]{1,6})")


@dataclass(frozen=True)
class Seen:
    """A picture: one sentence of facts, its size in pixels, and the lines of its label."""

    facts: str
    width: int = 0
    height: int = 0
    label: tuple[str, ...] = ()


def label_of(data: bytes) -> tuple[str, ...]:
    """The lines of a PNG's text `Label`; none of another picture."""
    with Image.open(io.BytesIO(data)) as picture:
        text = str(picture.info.get(KEYWORD, ""))
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def known_of(pictures: Sequence[Seen], texts: Sequence[str]) -> Known:
    """Values that are true of properties by their names, for the schemas of named tasks and others that use such names."""
    lines = [line for picture in pictures for line in picture.label]
    facts = [picture.facts for picture in pictures]
    matches, best = _matches(lines, texts)
    return {
        "summary": [" ".join([_NOBODY, *facts])],
        "details": [facts],
        "objects": [[_whole(number, picture) for number, picture in enumerate(pictures, 1)], []],
        "has_text": [bool(lines)],
        "full_text": ["\n".join(lines)],
        "blocks": [[{"text": line, "kind": "label", "certainty": "high"} for line in lines]],
        "labels": [[_statement(line) for line in lines], lines],
        "features": [[{"name": name, "value": value} for name, value in map(_pair, lines)]],
        "matches": [matches],
        "best": [best],
        "scene": [_NOBODY],
        "setting": ["not known"],
        "time_of_day": ["unknown"],
        "activities": [[]],
        "evidence": [facts],
        "doubts": [["Everything but the facts: the sandbox understands nothing."]],
        "answer": [f"{_NOBODY} It reads no charts."],
        "method": ["None."],
        "data": [[]],
        "answerable": [False],
    }


def _whole(number: int, picture: Seen) -> dict[str, Any]:
    return {
        "label": "picture",
        "picture": number,
        "count": 1,
        "box": {"x0": 0, "y0": 0, "x1": picture.width, "y1": picture.height},
        "attributes": [picture.facts],
        "certainty": "low",
    }


def _pair(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    return (name.strip(), value.strip()) if colon and value.strip() else ("text", line)


def _statement(line: str) -> dict[str, Any]:
    name, value = _pair(line)
    measure = _MEASURE.fullmatch(value)
    amount, unit = measure.groups() if measure else (value, None)
    return {"name": name, "value": amount, "unit": unit, "certainty": "high"}


def _matches(lines: Sequence[str], texts: Sequence[str]) -> tuple[list[dict[str, Any]], str | None]:
    """The rows in a text whose words stand on the label, and the one of which most do if it is alone in that."""
    said = set(words(lines))
    scored = [(_share(row, said), row) for text in texts for row in _rows(text)]
    found = sorted((one for one in scored if one[0]), key=lambda one: (-one[0], one[1]["id"]))[:_MATCHES]
    matches = [_match(row, share, said) for share, row in found]
    alone = len(found) == 1 or (len(found) > 1 and found[0][0] > found[1][0])
    return matches, str(found[0][1]["id"]) if alone and found[0][0] > 0.5 else None


def _match(row: Mapping[str, str], share: float, said: set[str]) -> dict[str, Any]:
    agrees = [name for name, value in row.items() if name != "id" and said.issuperset(words([value]))]
    differs = [name for name in row if name != "id" and name not in agrees]
    told = ([f"{name}: {row[name]}" for name in names] for names in (agrees, differs))
    return {
        "product_id": row["id"],
        "score": round(share, 2),
        **dict(zip(("agrees", "differs"), told, strict=True)),
    }


def _share(row: Mapping[str, str], said: set[str]) -> float:
    """How much of a row the label says."""
    own = set(words(str(value) for name, value in row.items() if name != "id"))
    return len(own & said) / len(own) if own else 0.0


def _rows(text: str) -> Iterator[Mapping[str, str]]:
    """The JSON objects with an `id` in a list at the end of a text."""
    try:
        found = msgspec.json.decode(text[text.index("[") :], type=list[dict[str, str]])
    except (ValueError, msgspec.DecodeError):
        return
    yield from (row for row in found if "id" in row)
