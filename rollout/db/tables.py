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
    Column("vendors", Json),  # those whose models it may use; null: all
    Column("retired_models", String(16), nullable=False, server_default="follow"),  # follow, strict
    Column("thinking_budgets", String(16), nullable=False, server_default="map"),  # map, strict
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
    Index("ix_grant_state_expires_at", "state", "expires_at"),  # whose time is over
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
    Column(
        "four_eyes", sa.Boolean(), nullable=False, server_default=sa.false()
    ),  # changes wait for a second person
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
    Column("vendors", Json),  # those whose models its members may use; null: all
    Column("entry", Json),  # what must be true to enter it: core.gates.Gate
    Column("exit", Json),  # what must be true to leave it for a later one
    Column("hold", Json),  # ceilings: while one is exceeded nobody advances the plan
    Column(
        "moves_on", sa.Boolean(), nullable=False, server_default=sa.false()
    ),  # by itself, once its exit is met
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
    Column("open_to", Id),  # the furthest phase whose members stay in, after a jump back; null: this one
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
    Column("reminded_at", BigInteger),
    CheckConstraint("killed in (0, 1)", name="two_valued"),
)

# Steps of a plan that are to come, at a time (`schedule`) or when enough people said yes (`change_request`). `step` is a core.steps.Step;
# both rest on the plan's version of when they were written.

schedule = Table(
    "schedule",
    metadata,
    Column("id", Id, primary_key=True),
    Column("feature", Id, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("step", Json, nullable=False),
    Column("base_version", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # pending, applied, conflict, cancelled
    Column("reason", Text, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("outcome", Text),  # what came of it, or what it waits for
    Column("version", Integer, nullable=False),
    Index("ix_schedule_feature_at", "feature", "at"),
    Index("ix_schedule_state_at", "state", "at"),
)

change_request = Table(
    "change_request",
    metadata,
    Column("id", Id, primary_key=True),
    Column("feature", Id, nullable=False),
    Column("step", Json, nullable=False),
    Column("content_hash", String(64), nullable=False),  # SHA-256 of what is approved: core.approvals
    Column("base_version", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, applied, rejected, withdrawn, void
    Column("reason", Text, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("ended_by", String(200)),
    Column("outcome", Text),
    Column("version", Integer, nullable=False),
    Index("ix_change_request_feature_state", "feature", "state", "id"),
)

approval = Table(
    "approval",
    metadata,
    Column("change_request_id", Id, primary_key=True),
    Column("by", String(200), primary_key=True),
    Column("content_hash", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# -- flags beyond plans ----------------------------------------------------------------------------------------------------------------

# `document` is the Unleash document as it came, unknown parts too; an archived flag keeps its name.

flag = Table(
    "flag",
    metadata,
    Column("environment", Id, primary_key=True),
    Column("name", String(500), primary_key=True),
    Column("project", String(100), nullable=False),
    Column("document", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
)

segment = Table(
    "segment",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("document", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# What an import brought beside flags and segments: kept, and served and exported again.

flag_extra = Table(
    "flag_extra",
    metadata,
    Column("environment", Id, primary_key=True),
    Column("members", Json, nullable=False),
)

flag_token = Table(
    "flag_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("type", String(16), nullable=False),  # client, frontend
    Column("projects", Json, nullable=False),  # ["*"], or names
    Column("environment", Id, nullable=False),
    Column("tenant_id", Id),  # frontend: whose properties replace the caller's
    Column("prefix", String(200), nullable=False),  # what may be shown: *:production.ab12
    Column("hash", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("ix_flag_token_tenant_id", "tenant_id", "id"),
)

# What SDKs tell: who they are, and how often a flag was on and off in an hour (UTC, epoch seconds of its beginning).

flag_client = Table(
    "flag_client",
    metadata,
    Column("environment", Id, primary_key=True),
    Column("app_name", String(200), primary_key=True),
    Column("instance_id", String(200), primary_key=True),
    Column("sdk", String(200)),
    Column("strategies", Json, nullable=False),
    Column("interval", Integer),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index("ix_flag_client_seen_at", "seen_at"),
)

flag_metric = Table(
    "flag_metric",
    metadata,
    Column("environment", Id, primary_key=True),
    Column("flag", String(500), primary_key=True),
    Column("app_name", String(200), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("yes", BigInteger, nullable=False),
    Column("no", BigInteger, nullable=False),
    Column("variants", Json, nullable=False),  # {"name": count}
    Index("ix_flag_metric_hour", "hour"),
)

# With ROLLOUT_FLAGS=unleash: the last good state of the server that holds the flags, and how far our phases were written to it.

upstream_flags = Table(
    "upstream_flags",
    metadata,
    Column("source", String(64), primary_key=True),  # SHA-256 of URL, token and environment
    Column("revision", BigInteger, nullable=False),  # the one that it came with
    Column("document", Text, nullable=False),
    Column("etag", String(200), nullable=False),
    Column("fetched_at", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger, nullable=False),
)

flag_push = Table(
    "flag_push",
    metadata,
    Column("feature", Id, primary_key=True),
    Column("wanted_revision", BigInteger, nullable=False),
    Column("pushed_revision", BigInteger),  # the last that was read back as it was written
    Column("drift", Json),  # what differs there and was not our doing
    Column("error", Text),
    Column("at", BigInteger, nullable=False),
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
    Column("level", String(16), nullable=False),  # platform, phase, tenant, feature, api_key, end_user
    Column(
        "subject", String(255)
    ),  # the phase, key or end user that it limits; null: each key, each end user
    Column("feature", Id),
    Column("unit", String(16), nullable=False),
    Column("period", String(16), nullable=False),
    Column("tz", String(64), nullable=False),
    Column("zones", Json),  # [[since, tz], ...]: changes of tz, each from the end of a window on
    Column("cap", BigInteger, nullable=False),
    Column("scheduled", Json),  # [[at, cap], ...]: caps to come, in order of time
    Column("hard", sa.Boolean(), nullable=False),
    Column("thresholds", Json, nullable=False, server_default="[50, 80, 100]"),  # percent of the cap
    Column("effective_at", BigInteger),  # counts from then on, and not from `until` on
    Column("until", BigInteger),
    Column("due_at", BigInteger, index=True),  # when the first of what is planned is to happen
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
    Column("topups", Json),  # [[id, amount, effective, expires], ...]: those in force or to come
    Column("topped", BigInteger, nullable=False, server_default="0"),  # what ended top-ups leave in the cap
    Column(
        "alerted", Integer, nullable=False, server_default="0"
    ),  # the highest threshold that was told, percent
    Column("exhausted_at", BigInteger),  # when a request first did not fit
    CheckConstraint("used >= 0", name="used_not_negative"),
    CheckConstraint("held >= 0", name="held_not_negative"),
    Index("ix_bucket_ends", "ends"),  # the windows of now, of all tenants
    Index("ix_bucket_tenant_id_meter_id_start", "tenant_id", "meter_id", "start"),  # subjects of a window
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
        "unsent", sa.Boolean(), nullable=False, server_default=sa.false()
    ),  # the caller left before the answer
    Column("evidence", Json),  # what was found out of an unknown outcome: [{"at", "by", "found"}, ...]
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
    Column("kind", String(16), nullable=False),  # reserve, settle, void, slot, late, adjust, topup, expire
    Column("d_used", BigInteger, nullable=False),
    Column("d_held", BigInteger, nullable=False),
    Column(
        "d_cap", BigInteger, nullable=False, server_default="0"
    ),  # top-ups: given, and what was left of them
    Column("settled_from", String(16)),  # usage, price_list, estimate
    Column("price_id", String(80)),
    Column("actor", String(200), nullable=False),
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
    sa.UniqueConstraint("tenant_id", "hold_id", "meter_id", "subject", "kind"),
    Index("ix_entry_tenant_id_meter_id_start_at", "tenant_id", "meter_id", "start", "at"),
)

# Both are booked by entries whose ids begin with theirs.

topup = Table(
    "topup",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("meter_id", Id, nullable=False),
    Column("subject", Id, nullable=False),
    Column("start", BigInteger, nullable=False),  # of the window that it tops up
    Column("amount", BigInteger, nullable=False),
    Column("effective", BigInteger, nullable=False),
    Column("expires", BigInteger),  # null: with its window
    Column("voided_at", BigInteger),
    Column("reason", Text, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_topup_id", "id"),
    Index("ix_topup_tenant_id_meter_id", "tenant_id", "meter_id", "id"),
)

adjustment = Table(
    "adjustment",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("feature", Id, nullable=False),
    Column("unit", String(16), nullable=False),  # image, usd_micro, request
    Column("amount", BigInteger, nullable=False),  # negative: given back
    Column("at", BigInteger, nullable=False),  # in whose windows it is booked
    Column("reason", Text, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_adjustment_id", "id"),
    Index("ix_adjustment_tenant_id_at", "tenant_id", "at"),
)

alert = Table(
    "alert",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("meter_id", Id, primary_key=True),
    Column("subject", Id, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("threshold", Integer, primary_key=True, autoincrement=False),  # percent; 0: a request did not fit
    Column("cap", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_alert_at", "at"),
    Index("ix_alert_tenant_id_at", "tenant_id", "at"),
)

# How the books were found when somebody added them up.

verification = Table(
    "verification",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("seconds", Integer, nullable=False),
    Column("wrong", Json, nullable=False),  # sentences
    Column("actor", String(200), nullable=False),
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

# A generation that was asked for as a job: what is to be sent, and how far it has come. How it ended and what it cost stands on the hold.

generation_job = Table(
    "generation_job",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("generation_id", Id, primary_key=True),
    Column(
        "request", Json, nullable=False
    ),  # what is sent, pictures by their sha256, and what its answer's headers say
    Column("progress", Integer, nullable=False),  # percent
    Column("task_id", String(200)),  # what the vendor calls it, where it works by tasks
    Column("task_at", BigInteger),  # when the vendor took it
    Column("error", Json),  # how it failed, as a problem
    Column("cancelled_at", BigInteger),
    Column("ended_at", BigInteger),
)

# What Claude found of a finished generation: {criterion: {"score", "reasons"}}, or why it did not look.

evaluation = Table(
    "evaluation",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("generation_id", Id, primary_key=True),
    Column("feature", Id, nullable=False),
    Column("phase", Id),
    Column("run", Integer),
    Column("model", Id, nullable=False),  # that made the picture
    Column("judge", Id, nullable=False),  # the model that judged
    Column("scores", Json),
    Column("score", sa.Float),  # the least of them
    Column("skipped", String(200)),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_evaluation_feature_run", "feature", "run", "created_at"),
)

# The answer of a named task; which model by which decision stands on the analysis, what it cost on the hold.

analysis_result = Table(
    "analysis_result",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("analysis_id", Id, primary_key=True),
    Column("task", String(32), nullable=False),
    Column("answer", Json, nullable=False),  # as it was answered
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

product_table = Table(
    "product_table",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("content_id", Id, nullable=False),  # under which its rows lie: another upload is another content
    Column("columns", Json, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

product = Table(
    "product",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("content_id", Id, primary_key=True),
    Column("product_id", String(200), primary_key=True),
    Column("fields", Json, nullable=False),
    Column("search", Text, nullable=False),  # its words, lower-case, each between two spaces
)

guardrail_event = Table(
    "guardrail_event",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("hold_id", Id, nullable=False),
    Column("use_id", Id, nullable=False),  # of the generation or analysis
    Column("end_user", String(255)),
    Column("feature", Id, nullable=False),
    Column("phase", Id),
    Column("run", Integer),
    Column("point", String(16), nullable=False),  # prompt, input_image, output_image, output_text
    Column("source", Id, nullable=False),  # the vendor
    Column("category", String(32), nullable=False),  # core.guardrails
    Column("action", String(16), nullable=False),  # refuse
    Column("score", sa.Float),
    Column("vendor_code", String(200)),
    Column("at", BigInteger, nullable=False),
    Index("ix_guardrail_event_id", "id"),  # an admin looks across tenants, newest first
    Index("ix_guardrail_event_feature_run", "feature", "run", "at"),
    Index("ix_guardrail_event_use_id", "use_id"),
)

# -- the catalogue: rows over the seed that the package carries, each a whole row in its shape ------------------------------------------

catalogue_model = Table(
    "catalogue_model",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("document", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
)

catalogue_alias = Table(
    "catalogue_alias",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("document", Json),  # null: the seed's alias of that name is gone
    Column("version", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
)

# What a vendor's own list says otherwise than the catalogue; an admin applies or dismisses it.

catalogue_proposal = Table(
    "catalogue_proposal",
    metadata,
    Column("id", Id, primary_key=True),
    Column("vendor", Id, nullable=False),
    Column("model", String(200), nullable=False),
    Column("kind", String(16), nullable=False),  # retires, gone, unlisted
    Column("found", Json, nullable=False),  # what the vendor says
    Column("state", String(16), nullable=False),  # open, applied, dismissed
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("ended_by", String(200)),
    Column("version", Integer, nullable=False),
    Index("ix_catalogue_proposal_state", "state", "id"),
    Index("ix_catalogue_proposal_model_kind", "model", "kind"),
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
    Column("breakers", Json),  # those that are open: {vendor: {"since", "failures", "last"}}
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

# Work for later, written in the transaction that makes it necessary: the outbox, too.

_OPEN_JOB = sa.text("state in ('ready', 'running')")

job = Table(
    "job",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("kind", String(32), nullable=False),  # webhook, reconcile
    Column("subject", Id),  # what it is about: the webhook, the hold
    Column("dedupe", String(200)),  # unique with the kind while the job is open
    Column("payload", Json, nullable=False),
    Column("state", String(16), nullable=False),  # ready, running, done, dead
    Column("run_at", BigInteger, nullable=False),  # running: when its lease passes
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("lease", Id),  # of one claim, never used again
    Column("last_error", Text),
    Column("outcome", Json),  # what the last attempt came to: {"status": 200, "ms": 12}
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("ix_job_id", "id"),
    Index("ix_job_kind_subject_id", "kind", "subject", "id"),
    Index("ix_job_state_id", "state", "id"),
    Index("ix_job_run_at", "run_at", sqlite_where=_OPEN_JOB, postgresql_where=_OPEN_JOB),
    Index("ix_job_ended_at", "ended_at"),
    Index(
        "uq_job_kind_dedupe",
        "tenant_id",
        "kind",
        "dedupe",
        unique=True,
        sqlite_where=_OPEN_JOB,
        postgresql_where=_OPEN_JOB,
    ),
)

# Where a tenant (core.meters.PLATFORM: we ourselves) wants to be told. The signing secret follows from SECRET_KEY, id and version.

webhook = Table(
    "webhook",
    metadata,
    Column("tenant_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("url", String(2000), nullable=False),
    Column("types", Json, nullable=False),  # events that it wants; []: all
    Column("state", String(16), nullable=False),  # active, disabled
    Column("secret_version", Integer, nullable=False),
    Column("rotated_at", BigInteger),  # until a day after, both secrets sign
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_webhook_id", "id"),
)
