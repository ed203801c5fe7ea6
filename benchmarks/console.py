"""How long every page of the console takes at the server: `python -m benchmarks.console`.

Builds a database of a busy month once (2.3 GB, two minutes; `--home` says where), then asks each page many times in this process, as
an admin would, and prints the median, the 95th percentile and the slowest. Pages come from the URL map, so a new one is asked too;
lists are asked with filters and some pages in. Nothing is asserted: this is for people who read it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from benchmarks import books
from rollout import log
from rollout.app import calm_collector, create_app
from rollout.core.decisions import GENERATION
from rollout.core.flags import PRODUCTION
from rollout.db.tables import (
    access_request,
    api_key,
    change_request,
    feedback,
    flag_token,
    generation,
    grant,
    hold,
    image,
    job,
    meter,
    segment,
    user,
    webhook,
)
from rollout.services.registry import Services
from rollout.wiring import build

LIMIT_MS = 50
PAGES_IN = 3
NOT_ASKED = ("/admin/static/", "/admin/sign-in")
MOVES = ("advance", "rollback", "jump", "restart", "pause")
BUSIEST = "acme-000"

FILTERS: Mapping[str, tuple[str, ...]] = {
    "/admin/search": ("q=globex", "q=nobody-at-all", f"q={BUSIEST}"),
    "/admin/tenants": ("q=cyber", "q=zzz", "state=suspended", "limit=100"),
    "/admin/grants": (f"tenant={BUSIEST}", "state=active", "state=revoked"),
    "/admin/access-requests": ("state=any", "state=denied", f"state=any&tenant={BUSIEST}"),
    "/admin/meters": (f"tenant={BUSIEST}", "nearly=true", "unit=usd_micro", "limit=100"),
    "/admin/holds": ("state=unknown", "state=all", f"state=all&tenant={BUSIEST}"),
    "/admin/feedback": (
        "state=open", "state=open&rating=down", "state=spam", f"tenant={BUSIEST}", "model=nobody-has-this",
        "phase=private_beta&rating=down", "limit=50",
    ),
    "/admin/requests": ("code=rate_limit_exceeded", "code=content_refused", f"tenant={BUSIEST}"),
    "/admin/audit": (
        f"tenant={BUSIEST}", "actor=user:1@phasegate.example", "action=plan.added", "subject=nothing", "limit=100",
    ),
    "/admin/explain": (f"tenant={BUSIEST}&feature={GENERATION}", "tenant=acme-000&feature=image-analysis"),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """How long an answer took in ms, sorted, and how much of that this process worked; `status` and `size` of the last one."""

    page: str
    status: int
    size: int
    times: list[float]
    work: list[float]

    @property
    def is_slow(self) -> bool:
        return _p95(self.times) > LIMIT_MS


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument(
        "--home", type=Path, default=Path(".cache/benchmark"), help="where the database is kept"
    )
    asked.add_argument("--times", type=int, default=60, help="how often each page is asked")
    asked.add_argument("--only", default="", help="only pages whose address contains this")
    options = asked.parse_args()
    log.configure("critical", "text")
    _build_once(options.home)
    with contextlib.closing(_wired(options.home)) as services:
        app = create_app(services)
        client = _signed_in(app, services)
        pages = [page for page in _pages(app, client, services) if options.only in page]
        calm_collector()
        results = [_ask(client, page, options.times) for page in pages]
    _show(results, options.times)


def _build_once(home: Path) -> None:
    if home.exists():
        return
    print(f"building {home}, which takes some minutes ...", flush=True)
    began, draft = time.monotonic(), home.with_suffix(".draft")
    books.make(draft, books.Sizes(), int(time.time()))
    draft.rename(home)
    print(f"built in {time.monotonic() - began:.0f} s")


def _wired(home: Path) -> Services:
    """By a clock that goes on where the month ended."""
    behind = time.time() - books.last_call(home)
    return build(books.settings(home), clock=lambda: time.time() - behind, connect=True)


def _signed_in(app: Flask, services: Services) -> FlaskClient:
    client = app.test_client()
    opened = services.sessions.sign_in(books.EMAIL, books.PASSWORD, "127.0.0.1")
    client.set_cookie("phasegate_session", opened.secret)
    return client


def _pages(app: Flask, client: FlaskClient, services: Services) -> Iterator[str]:
    """Every page of the console: with each thing that its address may name, with filters, and some pages in."""
    samples = _samples(services)
    for rule in sorted(app.url_map.iter_rules(), key=str):
        path = str(rule)
        if (
            not rule.endpoint.startswith("admin.pages.")
            or "GET" not in (rule.methods or ())
            or path.startswith(NOT_ASKED)
        ):
            continue
        for filled in _filled(path, samples):
            yield filled
            yield from _later(client, filled)
        for query in FILTERS.get(path, ()):
            yield f"{path}?{query}"
            yield from _later(client, f"{path}?{query}")


def _filled(path: str, samples: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The address with each sample of its arguments: those of its room, where names mean other things elsewhere."""
    argument = re.search(r"<(?:[^>]*:)?(\w+)>", path)
    if argument is None:
        yield path
        return
    room = path.removeprefix("/admin/").partition("/<")[0]
    for sample in samples.get(f"{room} {argument[1]}") or samples[argument[1]]:
        yield from _filled(path.replace(argument[0], sample, 1), samples)


def _later(client: FlaskClient, page: str) -> Iterator[str]:
    """The list some pages in, where it is that long."""
    for _ in range(PAGES_IN):
        following = re.search(r'rel="next" href="([^"]+)"', client.get(page).text)
        if following is None:
            return
        page = unescape(following[1])
    yield page


def _samples(services: Services) -> dict[str, tuple[str, ...]]:
    """What may stand in an address, by the argument's name."""
    with services.database.read() as tx:

        def one(column: sa.Column[str], *where: sa.ColumnElement[bool]) -> str:
            return str(
                tx.execute(sa.select(column).where(*where).order_by(column.desc()).limit(1)).scalar_one()
            )

        busiest = meter.c.tenant_id == BUSIEST
        opinion, picture = one(feedback.c.id), one(image.c.id)
        return {
            "tenant_id": (BUSIEST, "acme-490"),
            "request_id": (
                one(access_request.c.id),
                one(access_request.c.id, access_request.c.state == "waiting"),
            ),
            "feedback_id": (opinion,),
            "grant_id": (one(grant.c.id),),
            "hold_id": (
                one(hold.c.id),
                one(hold.c.id, hold.c.lease_until.is_not(None), hold.c.state == "unknown"),
            ),
            "feature": (GENERATION,),
            "meter_id": (one(meter.c.id, busiest), one(meter.c.id, busiest, meter.c.period == "month")),
            "step": MOVES,
            "key": ("private_beta",),
            "environment": (PRODUCTION,),
            f"flags/{PRODUCTION} name": ("flag-007",),
            "catalogue/models name": ("gpt-image-2",),
            "catalogue/aliases name": (services.catalogue().aliases[0].name,),
            "change-requests request_id": (one(change_request.c.id),),
            "token_id": (one(flag_token.c.id),),
            "segment_id": (one(segment.c.id),),
            "webhook_id": (one(webhook.c.id),),
            "job_id": (one(job.c.id),),
            "any_id": (one(hold.c.request_id), one(generation.c.id), one(hold.c.id), opinion, picture),
            "key_id": (one(api_key.c.id, api_key.c.tenant_id == BUSIEST),),
            "user_id": (one(user.c.id),),
        }


def _ask(client: FlaskClient, page: str, times: int) -> Asked:
    client.get(page)
    taken, work = [], []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        answer = client.get(page)
        taken.append((time.perf_counter() - began) * 1000)
        work.append((time.process_time() - worked) * 1000)
    return Asked(page, answer.status_code, len(answer.data), sorted(taken), sorted(work))


def _p95(times: list[float]) -> float:
    return times[int(len(times) * 0.95)]


def _show(results: list[Asked], times: int) -> None:
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {load}, Python {platform.python_version()}"
    )
    print(f"each page {times} times, ms; `work` is what this process worked for it\n")
    print("| page | KB | p50 | p95 | max | p95 of work | |")
    print("|---|--:|--:|--:|--:|--:|---|")
    there = [one for one in results if one.status < 400]
    for one in there:
        times_shown = (statistics.median(one.times), _p95(one.times), one.times[-1], _p95(one.work))
        cells = [
            f"`{_short(one.page)}`",
            f"{one.size / 1000:.0f}",
            *(f"{time_:.1f}" for time_ in times_shown),
        ]
        print(f"| {' | '.join(cells)} | {'slow' if one.is_slow else ''} |")
    slow = sum(one.is_slow for one in there)
    print(f"\n{len(there)} pages, {slow} above {LIMIT_MS} ms at the 95th percentile.")
    if missing := [_short(one.page) for one in results if one.status >= 400]:
        print(f"Not there in this database: {', '.join(missing)}")


def _short(page: str) -> str:
    """Ids and cursors are long and say nothing."""
    return re.sub(r"cursor=[^&]+", "cursor=…", re.sub(r"\b([a-z]+_)[0-9a-z]{26}", r"\1…", page))


if __name__ == "__main__":
    main()
