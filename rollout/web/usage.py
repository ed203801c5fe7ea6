"""Usage reports on the wire, the same for a tenant and for admins."""

from __future__ import annotations

from pydantic import Field

from rollout.web.operation import Shape


class PeriodQuery(Shape):
    """Days, both included, or RFC 3339 times, the end excluded; by default the 30 days that end today."""

    since: str | None = Field(None, alias="from", max_length=40)
    until: str | None = Field(None, alias="to", max_length=40)
    by: str | None = Field(None, max_length=100)


class FiguresOut(Shape):
    requests: int
    images: int
    input_tokens: int
    output_tokens: int
    cost_usd_micro: int
    pending_usd_micro: int


class LineOut(FiguresOut):
    """Only the words of `by` are there; null: such uses have none."""

    day: str | None = None
    model: str | None = None
    key: str | None = None
    feature: str | None = None
    end_user: str | None = None
    tenant: str | None = None
    phase: str | None = None
    vendor: str | None = None


class ReportOut(Shape):
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    tz: str
    by: list[str]


class UsageOut(ReportOut):
    data: list[LineOut]
    total: FiguresOut
