"""What vendors refuse for its content: their words in ours, and one event for each refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

Category = Literal[
    "sexual", "minors", "violence", "hate", "harassment", "self_harm",
    "illicit", "cyber", "bio", "likeness", "copyright", "policy",
]  # fmt: skip
"""`policy` where the vendor gave no reason, or one that has no word here."""

Point = Literal["prompt", "input_image", "output_image", "output_text"]
"""What was refused: what was asked with, or what came of it."""

CATEGORIES: tuple[Category, ...] = get_args(Category)
POINTS: tuple[Point, ...] = get_args(Point)

_OTHER_WORDS: Mapping[str, Category] = {
    "sexual_minors": "minors",
    "csae": "minors",
    "csam": "minors",
    "child_safety": "minors",
    "nudity": "sexual",
    "sexually_explicit": "sexual",
    "graphic": "violence",
    "violent": "violence",
    "dangerous_content": "illicit",
    "illegal": "illicit",
    "self_injury": "self_harm",
    "biology": "bio",
    "cbrn": "bio",
    "public_figure": "likeness",
    "celebrity": "likeness",
    "recitation": "copyright",
    "trademark": "copyright",
}


def category_of(told: str | None) -> Category:
    """Our word for a vendor's: `self-harm/intent`, `sexual/minors`, `HARM_CATEGORY_HATE_SPEECH`; `policy` for one without any.

    Sources: OpenAI's moderation categories, Anthropic's refusal categories, Gemini's HarmCategory.
    """
    word = (told or "").lower().replace("-", "_").removeprefix("harm_category_").removesuffix("_speech")
    whole = word.replace("/", "_")
    for name in (whole, *reversed(word.split("/"))):
        if name in CATEGORIES:
            return name
        if name in _OTHER_WORDS:
            return _OTHER_WORDS[name]
    return "policy"


@dataclass(frozen=True)
class GuardrailEvent:
    """A refusal. `use_id` of the generation or analysis, `source` the vendor; `vendor_code` in its words; `score` 0-1 where it
    told one; `at` in UTC epoch seconds."""

    tenant_id: str
    id: str
    hold_id: str
    use_id: str
    end_user: str | None
    feature: str
    phase: str | None
    run: int | None
    point: Point
    source: str
    category: Category
    action: str
    score: float | None
    vendor_code: str | None
    at: int


@dataclass(frozen=True)
class Wanted:
    """Which events are asked for; None: any. `since` in UTC epoch seconds. Raises InvalidRequest for a category that there is not."""

    tenant: str | None = None
    category: str | None = None
    source: str | None = None
    feature: str | None = None
    since: int | None = None

    def __post_init__(self) -> None:
        if self.category and self.category not in CATEGORIES:
            raise InvalidRequest(
                f"There is no category {self.category[:100]!r}; there are {', '.join(CATEGORIES)}.",
                param="category",
            )


EVENT_COLUMNS = (
    "id", "tenant", "at", "feature", "phase", "run", "use_id", "hold_id", "end_user", "point", "source",
    "category", "action", "score", "vendor_code",
)  # fmt: skip


def event_json(event: GuardrailEvent) -> dict[str, Any]:
    """The shape that admins see."""
    shown = {**vars(event), "tenant": event.tenant_id, "at": rfc3339(event.at)}
    return {name: shown[name] for name in EVENT_COLUMNS}
