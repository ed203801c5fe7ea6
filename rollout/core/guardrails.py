"""What vendors refuse for its content: their words in ours, and one event for each refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

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
