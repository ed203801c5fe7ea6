"""Every table, in one MetaData.

Amounts are 64-bit integers, money is micro-dollars; times are UTC epoch seconds unless the name ends in `_ms`. Tables that belong to a
tenant have `tenant_id` first in their primary key, so that tenants can be sharded.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table, Text

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(64)
Json = sa.JSON(none_as_null=True)

# -- tenants ---------------------------------------------------------------------------------------------------------------------------

tenant = Table(
    "tenant",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("tz", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # active, suspended
    Column("attributes", Json, nullable=False),  # targetable: {"region": "eu"}
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("mode", String(8), nullable=False),  # live, test
    Column("prefix", String(24), nullable=False),  # what may be shown: rk_live_ab12
    Column("hash", String(64), nullable=False, unique=True),  # HMAC-SHA256 by SECRET_KEY, hex
    Column("scopes", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

admin_token = Table(
    "admin_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),  # viewer, editor, admin
    Column("hash", String(64), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

# Operators at the console. Emails are lower-case.

user = Table(
    "user",
    metadata,
    Column("id", Id, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),  # viewer, editor, admin
    Column("password_hash", String(200)),  # argon2id; null: signs in by link only
    Column("language", String(16)),  # null: what the browser asks for
    Column("tz", String(64)),  # null: UTC
    Column("theme", String(8), nullable=False),  # system, light, dark
    Column("shortcuts", sa.Boolean(), nullable=False),  # single keys act (WCAG 2.1.4: can be switched off)
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
)

session = Table(
    "session",
    metadata,
    Column("hash", String(64), primary_key=True),  # HMAC-SHA256 of the cookie by SECRET_KEY, hex
    Column("user_id", Id, nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

sign_in_link = Table(
    "sign_in_link",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("user_id", Id, nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("subject", String(64), primary_key=True),  # HMAC of an email or an address, hex
    Column("count", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
)

# -- who is in -------------------------------------------------------------------------------------------------------------------------

grant = Table(
    "grant",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("feature", Id, primary_key=True),
    Column("id", Id, nullable=False, unique=True),
    Column("state", String(16), nullable=False),  # active, expired, revoked
    Column("cohort", String(64)),
    Column("starts_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("reason", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

access_request = Table(
    "access_request",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("feature", Id, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, approved, denied, withdrawn, expired
    Column("use_case", Text, nullable=False),
    Column("expected_volume", BigInteger),
    Column("terms_version", String(64)),
    Column("decided_by", String(200)),
    Column("decided_at", BigInteger),
    Column("decision_reason", Text),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_access_request_feature_state_id", "feature", "state", "id"),
    Index("ix_access_request_id", "id"),
    Index(
        "uq_access_request_waiting",
        "tenant_id",
        "feature",
        unique=True,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
)

# -- phases ----------------------------------------------------------------------------------------------------------------------------

plan = Table(
    "plan",
    metadata,
    Column("feature", Id, primary_key=True),
    Column(
        "salt", String(64), nullable=False
    ),  # drawn once for the feature's life: raising a percentage never removes a tenant
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

phase = Table(
    "phase",
    metadata,
    Column("feature", Id, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("key", Id, nullable=False),
    Column("title", String(200), nullable=False),
    Column("audience", Json, nullable=False),  # {"kind": "granted" | "segment" | "percentage" | "all", ...}
    Column("quota", Json, nullable=False),  # meters that an approval without its own brings along
    sa.UniqueConstraint("feature", "key"),
)

phase_run = Table(
    "phase_run",
    metadata,
    Column("feature", Id, primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("phase", Id, nullable=False),
    Column("state", String(16), nullable=False),  # running, paused, completed, rolled_back
    Column("entered_at", BigInteger, nullable=False),
    Column("entered_by", String(200), nullable=False),
    Column("left_at", BigInteger),
)

kill = Table(
    "kill",
    metadata,
    Column("feature", Id, primary_key=True),
    Column("tenant_id", Id, primary_key=True),  # core.kills.EVERYONE, or one tenant: its halt
    Column("killed", Integer, nullable=False),
    Column("in_flight", String(16), nullable=False),  # finish, withhold
    Column("reason", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("remind_at", BigInteger),
    CheckConstraint("killed in (0, 1)", name="two_valued"),
)

# -- quota -----------------------------------------------------------------------------------------------------------------------------

quota_owner = Table(
    "quota_owner",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("meter_rev", BigInteger, nullable=False),
)

meter = Table(
    "meter",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False),  # the policy's name on the wire
    Column("level", String(16), nullable=False),
    Column("feature", Id),
    Column("unit", String(16), nullable=False),
    Column("period", String(16), nullable=False),
    Column("tz", String(64), nullable=False),
    Column("cap", BigInteger, nullable=False),
    Column("hard", sa.Boolean(), nullable=False),
    Column("archived_at", BigInteger),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(
        "uq_meter_tenant_id_name",
        "tenant_id",
        "name",
        unique=True,
        sqlite_where=sa.text("archived_at is null"),
        postgresql_where=sa.text("archived_at is null"),
    ),
)

bucket = Table(
    "bucket",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("meter_id", Id, primary_key=True),
    Column("subject", Id, primary_key=True),  # '' for the whole tenant
    Column("start", BigInteger, primary_key=True),
    Column("ends", BigInteger),  # null: never
    Column("cap", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    CheckConstraint("used >= 0", name="used_not_negative"),
    CheckConstraint("held >= 0", name="held_not_negative"),
    Index("ix_bucket_ends", "ends"),  # the windows of now, of all tenants
)

hold = Table(
    "hold",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("state", String(16), nullable=False),  # held, dispatched, settled, void, unknown
    Column("feature", Id, nullable=False),
    Column("decision_id", String(80), nullable=False),
    Column("request_id", Id, nullable=False),
    Column("api_key_id", Id, nullable=False),
    Column("idem_key", String(260)),  # at most 255 as sent; those of test keys begin with "test "
    Column("attempt", Integer, nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("lines", Json, nullable=False),  # [[meter_id, subject, start, unit, amount], ...]
    Column("vendor", Id, nullable=False),
    Column("model", Id, nullable=False),
    Column("price_id", String(80)),
    Column(
        "cost_usd_micro", BigInteger, nullable=False
    ),  # reserved: the most it may cost; settled: what it cost; void: 0
    Column("settled_from", String(16)),  # usage, price_list, estimate
    Column("usage", Json),  # tokens as the vendor told them, and pictures: core.catalogue.Usage, "images"
    Column(
        "lease_until", BigInteger
    ),  # held, dispatched: the owner's lease; unknown: when the grace ends; else null
    Column("upstream_id", String(200)),
    Column("result", Json),
    Column(
        "resolution", Text
    ),  # why it ended as it did: vendor's answer, sweeper, estimate, a person's reason
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Index("ix_hold_request_id", "request_id"),
    Index("ix_hold_created_at", "created_at", "feature", "state", "cost_usd_micro"),  # what happened lately
    Index("ix_hold_id", "id"),  # an admin names a hold without its tenant, and lists the newest of all
    Index(  # one key, one hold: a void one gives its key up to the next attempt
        "uq_hold_tenant_id_idem_key",
        "tenant_id",
        "idem_key",
        unique=True,
        sqlite_where=sa.text("idem_key is not null"),
        postgresql_where=sa.text("idem_key is not null"),
    ),
    Index(
        "ix_hold_keyed_created_at",
        "created_at",
        sqlite_where=sa.text("idem_key is not null"),
        postgresql_where=sa.text("idem_key is not null"),
    ),
    Index(
        "ix_hold_lease_until",
        "lease_until",
        sqlite_where=sa.text("lease_until is not null"),
        postgresql_where=sa.text("lease_until is not null"),
    ),
)

entry = Table(
    "entry",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("hold_id", Id),
    Column("meter_id", Id, nullable=False),
    Column("subject", Id, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),  # reserve, settle, void, slot, late
    Column("d_used", BigInteger, nullable=False),
    Column("d_held", BigInteger, nullable=False),
    Column("settled_from", String(16)),  # usage, price_list, estimate
    Column("price_id", String(80)),
    Column("actor", String(200), nullable=False),
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
    sa.UniqueConstraint("tenant_id", "hold_id", "meter_id", "subject", "kind"),
    Index("ix_entry_tenant_id_meter_id_start", "tenant_id", "meter_id", "start"),
)

# -- what was made ---------------------------------------------------------------------------------------------------------------------

# Immutable facts, written with the hold; how the use ended and what it cost stands on the hold.


def _use_columns() -> list[Column[object]]:
    """What a generation and an analysis have in common: who, by which decision, in which phase, on which model."""
    return [
        Column("hold_id", Id, nullable=False),
        Column("request_id", Id, nullable=False),
        Column("decision_id", String(80), nullable=False),
        Column("api_key_id", Id, nullable=False),
        Column("end_user", String(255)),
        Column("feature", Id, nullable=False),
        Column("phase", Id),
        Column("run", Integer),
        Column("vendor", Id, nullable=False),
        Column("model", Id, nullable=False),  # the catalogue's name
        Column("requested_model", String(200), nullable=False),
        Column("mode", String(8), nullable=False),  # live, test
        Column("created_at", BigInteger, nullable=False),
    ]


generation = Table(
    "generation",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    *_use_columns(),
    Column("operation", String(16), nullable=False),  # generate, edit
    Column("prompt", Text, nullable=False),
    Column("images_asked", Integer, nullable=False),
    Index("ix_generation_tenant_id_created_at", "tenant_id", "created_at"),
    Index("ix_generation_id", "id"),  # an admin names one without its tenant
    Index("ix_generation_tenant_id_hold_id", "tenant_id", "hold_id"),
)

analysis = Table(
    "analysis",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    *_use_columns(),
    Index("ix_analysis_tenant_id_created_at", "tenant_id", "created_at"),
    Index("ix_analysis_id", "id"),  # an admin names one without its tenant
    Index("ix_analysis_tenant_id_hold_id", "tenant_id", "hold_id"),
)

image = Table(
    "image",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("generation_id", Id, nullable=False),
    Column("position", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_image_tenant_id_generation_id", "tenant_id", "generation_id"),
    Index("ix_image_expires_at", "expires_at"),
    Index("ix_image_sha256", "sha256"),
)

_FACETS = ("rating", "tenant_id", "feature", "phase", "vendor", "model")
"""What lists of feedback are filtered by: in the index, so that a filter which matches little reads no rows."""

feedback = Table(
    "feedback",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("generation_id", Id, nullable=False),
    Column("end_user", String(255), nullable=False),
    Column("rating", String(8), nullable=False),  # up, down
    Column("reasons", Json, nullable=False),
    Column("comment", Text),
    Column("state", String(16), nullable=False),  # open, resolved, spam, withdrawn
    Column("feature", Id, nullable=False),  # this and the next four: as they were at exposure
    Column("phase", Id),
    Column("run", Integer),
    Column("vendor", Id, nullable=False),
    Column("model", Id, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sa.UniqueConstraint("tenant_id", "generation_id", "end_user"),
    Index("ix_feedback_id", "id", "state", *_FACETS),  # an admin looks across tenants, newest first
    Index("ix_feedback_state_id", "state", "id", *_FACETS),
    Index("ix_feedback_generation_id", "generation_id", "id"),
    Index("ix_feedback_end_user", "end_user", "id"),
)

# Ratings by what the generation was made with; `day` is the UTC midnight before the feedback's created_at.

figure = Table(
    "figure",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("feature", Id, primary_key=True),
    Column("phase", Id, primary_key=True),  # '' and 0: made outside of a plan
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("vendor", Id, primary_key=True),
    Column("model", Id, primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("up", BigInteger, nullable=False),
    Column("down", BigInteger, nullable=False),
    Index("ix_figure_day", "day"),
    CheckConstraint("up >= 0 and down >= 0", name="not_negative"),
)

# A tenant's call that was answered by an error; written in batches after the answer.

refusal = Table(
    "refusal",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("request_id", Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("method", String(8), nullable=False),
    Column("route", String(200), nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("members", Json, nullable=False),  # what the answer said besides: reason, limit, hold_id, ...
    Column("api_key_id", Id, nullable=False),
    Column("decision_id", String(80)),
    Index("ix_refusal_request_id", "request_id"),
    Index("ix_refusal_at", "at", "code"),
    Index("ix_refusal_tenant_id_at", "tenant_id", "at"),
)

# -- changes and their spread ----------------------------------------------------------------------------------------------------------

revision = Table(
    "revision",
    metadata,
    Column(
        "id", Integer, primary_key=True, autoincrement=False
    ),  # always 1: the row whose lock orders all changes
    Column("number", BigInteger, nullable=False),
    Column("audit_hash", String(64), nullable=False),  # the end of the audit chain
    CheckConstraint("id = 1", name="single_row"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),  # meter.changed
    Column("subject", String(200), nullable=False),  # the thing's id
    Column("tenant_id", Id),
    Column("before", Json),
    Column("after", Json),
    Column("reason", Text, nullable=False),
    Column("request_id", Id),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_tenant_id_seq", "tenant_id", "seq"),
    Index("ix_audit_subject_seq", "subject", "seq"),  # the history of one thing
)

worker = Table(
    "worker",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("acknowledged_at_ms", BigInteger, nullable=False),
    Column("stopped_at", BigInteger),
)

tick = Table(
    "tick",
    metadata,
    Column("name", Id, primary_key=True),
    Column("next_at", BigInteger, nullable=False),
    Column("lease_owner", Id),
    Column("lease_until", BigInteger),
)
