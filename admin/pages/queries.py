"""What every page's address may say besides its own."""

from __future__ import annotations

from rollout.core.exports import Format
from rollout.web.operation import Shape
from rollout.web.paging import PageQuery


class PageView(Shape):
    """`done` names the audit row of what was just done; `lang` the language."""

    done: str | None = None
    lang: str | None = None


class ListView(PageQuery, PageView):
    """A list: the page to show, and `format` to take it away."""

    format: Format | None = None
