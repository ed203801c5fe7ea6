"""grants over"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_grant_state_expires_at", "grant", ["state", "expires_at"])
