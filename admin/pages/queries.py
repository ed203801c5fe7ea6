"""What every page's address may say besides its own."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from rollout.core.exports import Format
from rollout.web.operation import Shape
from rollout.web.paging import PageQuery


class PageView(Shape):
    """`done` names the audit row of what was just done; `lang` the language. A filter left empty counts as not sent."""

    done: str | None = None
    lang: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, sent: Any) -> Any:
        return {name: value for name, value in sent.items() if value != ""}


class ListView(PageQuery, PageView):
    """A list: the page to show, as long as one is made in 50 ms, and `format` to take all of it away."""

    limit: int = Field(50, ge=1, le=100)
    format: Format | None = None
