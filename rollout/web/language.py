"""The reader's language and time zone: which words a page has, and how it writes times, numbers and money.

English is the language of the source; every other one is a catalogue `translations/<code>.po`, read once per process. What no catalogue
holds stays English, never empty.
"""

from __future__ import annotations

import functools
import gettext
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask, g, has_request_context, request
from markupsafe import Markup, escape

from rollout.core.tenants import check_tz
from rollout.errors import InvalidRequest

LANGUAGES: Mapping[str, str] = {"en": "English", "id": "Bahasa Indonesia"}
"""Code -> its own name."""

SOURCE = "en"
TZ_COOKIE = "phasegate_tz"


@dataclass(frozen=True)
class Reader:
    """Who a page is for: `language` is one of LANGUAGES, `tz` the name of an IANA zone that exists."""

    language: str = SOURCE
    tz: str = "UTC"

    @functools.cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.tz)

    @functools.cached_property
    def locale(self) -> Locale:
        return Locale.parse("en_GB" if self.language == SOURCE else self.language)


def install(app: Flask) -> None:
    """`_()`, `ngettext()` and `{% trans %}` in templates, and filters that write values as the reader does."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: catalogue(reader().language).gettext(text),
        lambda one, many, n: catalogue(reader().language).ngettext(one, many, n),
        newstyle=True,
    )
    app.jinja_env.filters.update(
        moment=moment,
        day=day,
        month=month,
        age=age,
        number=number,
        money=money,
        percent=percent,
        said=said,
    )
    app.jinja_env.globals.update(reader=reader)


def reader() -> Reader:
    """Of this request: a signed-in person's own, else what `?lang=` or the browser asks for, in UTC."""
    if not has_request_context():
        return Reader()
    if "reader" not in g:
        g.reader = Reader(asked_language())
    found: Reader = g.reader
    return found


def asked_language() -> str:
    """`?lang=`, else Accept-Language, else English; a language that we do not have is passed over."""
    named = request.args.get("lang", "")
    return named if named in LANGUAGES else request.accept_languages.best_match(list(LANGUAGES)) or SOURCE


def asked_tz() -> str:
    """The zone of the browser, which a script tells by cookie; UTC without one, or for one that does not exist."""
    name = request.cookies.get(TZ_COOKIE, "")
    try:
        check_tz(name)
    except InvalidRequest:
        return "UTC"
    return name


def N_(text: str) -> str:  # noqa: N802  (gettext's name for it)
    """`text` itself: marks what `_()` translates later, when it is known for whom."""
    return text


def _(text: str, **values: object) -> str:
    """`text` in the reader's language; `values` fill its `%(name)s`."""
    said = catalogue(reader().language).gettext(text)
    return said % values if values else said


def ngettext(one: str, many: str, n: int, **values: object) -> str:
    return catalogue(reader().language).ngettext(one, many, n) % {"n": number(n), "num": number(n), **values}


@functools.cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The words of a language; the source has none of its own."""
    if language == SOURCE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, _messages(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@functools.cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Sentences made around values, `There is no tenant {}.`, as what finds them and what they are in the language; the longest first."""
    if language == SOURCE:
        return []
    sentences = [(str(one.id), str(one.string)) for one in _messages(language) if "{}" in str(one.id)]
    return [
        (re.compile("(.+?)".join(map(re.escape, source.split("{}"))), re.DOTALL), words)
        for source, words in sorted(sentences, key=lambda pair: -len(pair[0]))
    ]


def _messages(language: str) -> Catalog:
    source = files("rollout.web").joinpath(f"translations/{language}.po")
    return read_po(io.BytesIO(source.read_bytes()), locale=language)


def said(text: str) -> Markup:
    """A sentence that the service made: in the reader's language where the catalogue has it, else marked as English."""
    if not text:  # to which gettext answers with the catalogue's head
        return Markup()
    language = reader().language
    words = _reworded(text, language)
    if language == SOURCE or words != text:
        return marked(words)
    return Markup('<span lang="{}">{}</span>').format(SOURCE, marked(text))


def _reworded(text: str, language: str) -> str:
    """`text` as the catalogue has it, word for word or around its values; as it is when it has neither."""
    words = catalogue(language).gettext(text)
    if words != text:
        return words
    for pattern, sentence in _patterns(language):
        if found := pattern.fullmatch(text):
            parts = sentence.split("{}")
            return parts[0] + "".join(map("".join, zip(found.groups(), parts[1:], strict=True)))
    return text


def marked(text: str) -> Markup:
    """Text with what stands in `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


# -- values --------------------------------------------------------------------------------------------------


def moment(value: float | str | None, none: str = "—") -> Markup:
    """A time (UTC epoch seconds, or RFC 3339) as `<time>` in the reader's zone; `none` for None."""
    at = _at(value)
    if at is None:
        return Markup(escape(none))
    local = at.astimezone(reader().zone)
    text = dates.format_datetime(local, "medium", locale=reader().locale)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), f"{at:%Y-%m-%d %H:%M:%S} UTC", text
    )


def day(value: float | str | None, none: str = "—") -> Markup:
    """The day of a time in the reader's zone."""
    at = _at(value)
    if at is None:
        return Markup(escape(none))
    local = at.astimezone(reader().zone)
    return Markup('<time datetime="{}">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), dates.format_date(local.date(), "medium", locale=reader().locale)
    )


def month(name: str) -> Markup:
    """`2026-11` -> November 2026, as `<time>`."""
    first = date.fromisoformat(f"{name}-01")
    text = dates.format_skeleton("yMMMM", first, locale=reader().locale)
    return Markup('<time datetime="{}">{}</time>').format(name, text)


def age(since: int) -> Markup:
    """How long ago that was, as `<time>` in words: `3 minutes`."""
    passed = dates.format_timedelta(timedelta(seconds=time.time() - since), locale=reader().locale)
    return Markup('<time datetime="{}">{}</time>').format(
        datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), passed
    )


def number(value: float) -> str:
    return str(numbers.format_decimal(value, locale=reader().locale))


def money(micro: float) -> str:
    """Micro-dollars as dollars, with as many digits as it takes to show what is there (at least cents)."""
    pattern = "¤#,##0.00##########"
    return str(
        numbers.format_currency(
            Decimal(micro) / 1_000_000, "USD", pattern, locale=reader().locale, currency_digits=False
        )
    )


def percent(share: float, places: int = 1) -> str:
    """0.125 -> 12.5 %; `places` behind the point, at most."""
    return str(numbers.format_percent(share, f"#,##0.{'#' * places}%", locale=reader().locale))


def _at(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)
