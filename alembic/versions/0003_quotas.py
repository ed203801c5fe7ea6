"""quotas"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adjustment",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_adjustment")),
    )
    with op.batch_alter_table("adjustment") as batch_op:
        batch_op.create_index("ix_adjustment_id", ["id"], unique=False)
        batch_op.create_index("ix_adjustment_tenant_id_at", ["tenant_id", "at"], unique=False)

    op.create_table(
        "alert",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("meter_id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("threshold", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cap", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "meter_id", "subject", "start", "threshold", name=op.f("pk_alert")
        ),
    )
    with op.batch_alter_table("alert") as batch_op:
        batch_op.create_index("ix_alert_at", ["at"], unique=False)
        batch_op.create_index("ix_alert_tenant_id_at", ["tenant_id", "at"], unique=False)

    op.create_table(
        "job",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("dedupe", sa.String(length=200), nullable=True),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("run_at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=64), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job") as batch_op:
        batch_op.create_index("ix_job_ended_at", ["ended_at"], unique=False)
        batch_op.create_index("ix_job_id", ["id"], unique=False)
        batch_op.create_index("ix_job_kind_subject_id", ["kind", "subject", "id"], unique=False)
        batch_op.create_index(
            "ix_job_run_at",
            ["run_at"],
            unique=False,
            sqlite_where=sa.text("state in ('ready', 'running')"),
            postgresql_where=sa.text("state in ('ready', 'running')"),
        )
        batch_op.create_index("ix_job_state_id", ["state", "id"], unique=False)
        batch_op.create_index(
            "uq_job_kind_dedupe",
            ["tenant_id", "kind", "dedupe"],
            unique=True,
            sqlite_where=sa.text("state in ('ready', 'running')"),
            postgresql_where=sa.text("state in ('ready', 'running')"),
        )

    op.create_table(
        "topup",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("meter_id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("effective", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("voided_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_topup")),
    )
    with op.batch_alter_table("topup") as batch_op:
        batch_op.create_index("ix_topup_id", ["id"], unique=False)
        batch_op.create_index("ix_topup_tenant_id_meter_id", ["tenant_id", "meter_id", "id"], unique=False)

    op.create_table(
        "verification",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("wrong", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
    )
    with op.batch_alter_table("verification") as batch_op:
        batch_op.create_index(batch_op.f("ix_verification_at"), ["at"], unique=False)

    op.create_table(
        "webhook",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("types", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_webhook")),
    )
    with op.batch_alter_table("webhook") as batch_op:
        batch_op.create_index("ix_webhook_id", ["id"], unique=False)

    with op.batch_alter_table("bucket") as batch_op:
        batch_op.add_column(sa.Column("topups", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("topped", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("alerted", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("exhausted_at", sa.BigInteger(), nullable=True))
        batch_op.create_index(
            "ix_bucket_tenant_id_meter_id_start", ["tenant_id", "meter_id", "start"], unique=False
        )

    with op.batch_alter_table("entry") as batch_op:
        batch_op.add_column(sa.Column("d_cap", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.drop_index("ix_entry_tenant_id_meter_id_start")
        batch_op.create_index(
            "ix_entry_tenant_id_meter_id_start_at", ["tenant_id", "meter_id", "start", "at"], unique=False
        )

    with op.batch_alter_table("hold") as batch_op:
        batch_op.add_column(sa.Column("unsent", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True))

    with op.batch_alter_table("meter") as batch_op:
        batch_op.add_column(sa.Column("subject", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("zones", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("scheduled", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(
            sa.Column(
                "thresholds", sa.JSON(none_as_null=True), server_default="[50, 80, 100]", nullable=False
            )
        )
        batch_op.add_column(sa.Column("effective_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("until", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("due_at", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_meter_due_at"), ["due_at"], unique=False)

    # Hot rows: room for new versions of a bucket on its own page. No index has a column that changes.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("alter table bucket set (fillfactor = 40)")
