"""`rollout access-requests ...`"""

from __future__ import annotations

import re
from typing import Any, get_args

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.moments import until_option
from rollout.core.grants import RequestState, Standing, access_request_json

ALL = "all"
COLUMNS = ("id", "tenant", "feature", "state", "position", "use_case", "expected_volume", "created_at")

_METER = re.compile(r"([a-z_]+)/([a-z]+)=(\d{1,16})")


@click.group("access-requests")
def access_requests() -> None:
    """Tenants that ask for access to a feature."""


@access_requests.command("list")
@click.option("--tenant", help="Of this tenant only.")
@click.option("--feature", help="For this feature only.")
@click.option(
    "--state", type=click.Choice([*get_args(RequestState), ALL]), default="waiting", show_default=True
)
@limit_option()
@json_option
def list_(tenant: str | None, feature: str | None, state: str, limit: int, as_json: bool) -> None:
    """Who asks, in the order in which they asked."""
    with wired() as services:
        found = services.access.page(
            tenant=tenant, feature=feature, state=None if state == ALL else state, after=None, limit=limit
        )
    show_rows(
        [access_request_json(standing) for standing in found],
        as_json,
        "Nobody is waiting. Tenants ask by POST /api/v1/access-requests; decided ones: --state all.",
        columns=COLUMNS,
        limit=limit,
    )


@access_requests.command("show")
@click.argument("request")
@json_option
def show_(request: str, as_json: bool) -> None:
    """The access request with the id REQUEST."""
    with wired() as services:
        show(access_request_json(services.access.get(request)), as_json)


@access_requests.command("approve")
@click.argument("request")
@click.option(
    "--meter",
    "meters",
    multiple=True,
    metavar="UNIT/PERIOD=CAP",
    help="A quota, as image/day=100 or usd_micro/month=50000000; repeatable. Without any: the quota of"
    " the current phase, unless the tenant has one.",
)
@until_option
@change_options
def approve(
    request: str, meters: tuple[str, ...], until: int | None, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Let the tenant in: request, grant and quota in one change."""
    from rollout.services.access import approval_json

    given = [_meter(text) for text in meters] or None
    with wired() as services:
        approval = services.access.approve(
            actor(), request, reason, expires_at=until, quota=given, dry_run=dry_run
        )
        show(approval_json(approval), as_json)
    said(f"{approval.request.feature} granted to {approval.request.tenant_id}", dry_run)


@access_requests.command("deny")
@click.argument("request")
@change_options
def deny(request: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Say no; the tenant reads the reason."""
    with wired() as services:
        denied = services.access.deny(actor(), request, reason, dry_run=dry_run)
        show(access_request_json(Standing(denied, None)), as_json)
    said(f"access request {request} denied", dry_run)


def _meter(text: str) -> dict[str, Any]:
    match = _METER.fullmatch(text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not UNIT/PERIOD=CAP, such as image/day=100", param_hint="--meter"
        )
    return {"unit": match[1], "period": match[2], "cap": int(match[3])}
