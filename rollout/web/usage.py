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


class StatementLineOut(FiguresOut):
    """`usage_usd_micro` was charged by what the vendor told, `price_list_usd_micro` by the price list, `estimate_usd_micro` as
    reserved, because nobody could tell; together they are `cost_usd_micro`."""

    feature: str
    model: str
    usage_usd_micro: int
    price_list_usd_micro: int
    estimate_usd_micro: int


class AdjustmentOut(Shape):
    """A correction: `amount` in `unit` (usd_micro, image, request), negative when given back."""

    id: str
    at: str
    feature: str
    unit: str
    amount: int
    reason: str


class StatementOut(Shape):
    """Calls count in the month in which they began. `final`: the month is over and no call of it is open, so that only an
    adjustment can still change the total, which has those of this month in it."""

    tenant: str
    month: str
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    tz: str
    final: bool
    lines: list[StatementLineOut]
    adjustments: list[AdjustmentOut]
    requests: int
    images: int
    input_tokens: int
    output_tokens: int
    total_usd_micro: int
    pending_usd_micro: int
