"""A file with a JSON object, as an option of a command."""

from __future__ import annotations

from typing import Any

import click
import orjson


class Document(click.ParamType[Any]):
    """`-` is the standard input. What is no JSON object ends the command with a word about it."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        try:
            document = orjson.loads(click.File("rb").convert(value, param, ctx).read())
        except orjson.JSONDecodeError as error:
            self.fail(f"{value} is not JSON: {error}", param, ctx)
        if not isinstance(document, dict):
            self.fail(f"{value} is no JSON object.", param, ctx)
        return document
