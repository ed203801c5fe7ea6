"""people and figures"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "figure",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=64), nullable=False),
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("up", sa.BigInteger(), nullable=False),
        sa.Column("down", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("up >= 0 and down >= 0", name=op.f("ck_figure_not_negative")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "feature", "phase", "run", "vendor", "model", "day", name=op.f("pk_figure")
        ),
    )
    with op.batch_alter_table("figure") as batch_op:
        batch_op.create_index("ix_figure_day", ["day"], unique=False)

    op.create_table(
        "refusal",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("members", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("api_key_id", sa.String(length=64), nullable=False),
        sa.Column("decision_id", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "request_id", name=op.f("pk_refusal")),
    )
    with op.batch_alter_table("refusal") as batch_op:
        batch_op.create_index("ix_refusal_at", ["at", "code"], unique=False)
        batch_op.create_index("ix_refusal_request_id", ["request_id"], unique=False)
        batch_op.create_index("ix_refusal_tenant_id_at", ["tenant_id", "at"], unique=False)

    op.create_table(
        "session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
    )
    with op.batch_alter_table("session") as batch_op:
        batch_op.create_index(batch_op.f("ix_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "sign_in_failure",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_failure")),
    )
    op.create_table(
        "sign_in_link",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sign_in_link")),
    )
    with op.batch_alter_table("sign_in_link") as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_link_user_id"), ["user_id"], unique=False)

    op.create_table(
        "user",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=True),
        sa.Column("language", sa.String(length=16), nullable=True),
        sa.Column("tz", sa.String(length=64), nullable=True),
        sa.Column("theme", sa.String(length=8), nullable=False),
        sa.Column("shortcuts", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
    )
    with op.batch_alter_table("analysis") as batch_op:
        batch_op.create_index("ix_analysis_id", ["id"], unique=False)

    with op.batch_alter_table("audit") as batch_op:
        batch_op.create_index("ix_audit_subject_seq", ["subject", "seq"], unique=False)

    with op.batch_alter_table("bucket") as batch_op:
        batch_op.create_index("ix_bucket_ends", ["ends"], unique=False)

    facets = ["rating", "tenant_id", "feature", "phase", "vendor", "model"]
    with op.batch_alter_table("feedback") as batch_op:
        batch_op.drop_index("ix_feedback_id")
        batch_op.drop_index("ix_feedback_state_id")
        batch_op.create_index("ix_feedback_id", ["id", "state", *facets], unique=False)
        batch_op.create_index("ix_feedback_state_id", ["state", "id", *facets], unique=False)
        batch_op.create_index("ix_feedback_generation_id", ["generation_id", "id"], unique=False)
        batch_op.create_index("ix_feedback_end_user", ["end_user", "id"], unique=False)

    with op.batch_alter_table("generation") as batch_op:
        batch_op.create_index("ix_generation_id", ["id"], unique=False)

    with op.batch_alter_table("hold") as batch_op:
        batch_op.create_index(
            "ix_hold_created_at", ["created_at", "feature", "state", "cost_usd_micro"], unique=False
        )
        batch_op.create_index("ix_hold_request_id", ["request_id"], unique=False)

    # What was said before there were figures; spam and what was taken back do not count.
    op.execute(
        """
        insert into figure (tenant_id, feature, phase, run, vendor, model, day, up, down)
        select tenant_id, feature, coalesce(phase, ''), coalesce(run, 0), vendor, model,
               created_at - created_at % 86400 as day,
               sum(case when rating = 'up' then 1 else 0 end), sum(case when rating = 'down' then 1 else 0 end)
        from feedback where state in ('open', 'resolved')
        group by tenant_id, feature, coalesce(phase, ''), coalesce(run, 0), vendor, model, created_at - created_at % 86400
        """
    )
