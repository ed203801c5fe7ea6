"""flags"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("change_request_id", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change_request_id", "by", name=op.f("pk_approval")),
    )
    op.create_table(
        "change_request",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("step", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(length=200), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_request")),
    )
    with op.batch_alter_table("change_request") as batch_op:
        batch_op.create_index("ix_change_request_feature_state", ["feature", "state", "id"], unique=False)

    op.create_table(
        "flag",
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("environment", "name", name=op.f("pk_flag")),
    )
    op.create_table(
        "flag_client",
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("app_name", sa.String(length=200), nullable=False),
        sa.Column("instance_id", sa.String(length=200), nullable=False),
        sa.Column("sdk", sa.String(length=200), nullable=True),
        sa.Column("strategies", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("interval", sa.Integer(), nullable=True),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "app_name", "instance_id", name=op.f("pk_flag_client")),
    )
    with op.batch_alter_table("flag_client") as batch_op:
        batch_op.create_index("ix_flag_client_seen_at", ["seen_at"], unique=False)

    op.create_table(
        "flag_extra",
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("members", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("environment", name=op.f("pk_flag_extra")),
    )
    op.create_table(
        "flag_metric",
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("flag", sa.String(length=500), nullable=False),
        sa.Column("app_name", sa.String(length=200), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("yes", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("variants", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("environment", "flag", "app_name", "hour", name=op.f("pk_flag_metric")),
    )
    with op.batch_alter_table("flag_metric") as batch_op:
        batch_op.create_index("ix_flag_metric_hour", ["hour"], unique=False)

    op.create_table(
        "flag_push",
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("wanted_revision", sa.BigInteger(), nullable=False),
        sa.Column("pushed_revision", sa.BigInteger(), nullable=True),
        sa.Column("drift", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("feature", name=op.f("pk_flag_push")),
    )
    op.create_table(
        "flag_token",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("projects", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=True),
        sa.Column("prefix", sa.String(length=200), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flag_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_flag_token_hash")),
    )
    with op.batch_alter_table("flag_token") as batch_op:
        batch_op.create_index("ix_flag_token_tenant_id", ["tenant_id", "id"], unique=False)

    op.create_table(
        "schedule",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    with op.batch_alter_table("schedule") as batch_op:
        batch_op.create_index("ix_schedule_feature_at", ["feature", "at"], unique=False)
        batch_op.create_index("ix_schedule_state_at", ["state", "at"], unique=False)

    op.create_table(
        "segment",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
    )
    op.create_table(
        "upstream_flags",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("etag", sa.String(length=200), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_upstream_flags")),
    )
    with op.batch_alter_table("kill") as batch_op:
        batch_op.add_column(sa.Column("reminded_at", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("phase") as batch_op:
        batch_op.add_column(sa.Column("vendors", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("entry", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("exit", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("hold", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("moves_on", sa.Boolean(), server_default=sa.false(), nullable=False))

    with op.batch_alter_table("phase_run") as batch_op:
        batch_op.add_column(sa.Column("open_to", sa.String(length=64), nullable=True))

    with op.batch_alter_table("plan") as batch_op:
        batch_op.add_column(sa.Column("four_eyes", sa.Boolean(), server_default=sa.false(), nullable=False))
