"""How Alembic meets a database: in the transaction that `rollout.db.migrate` holds.

Whoever writes a migration has none, and names the database: `alembic -x url=sqlite:///... revision ...`.
"""

import sqlalchemy as sa
from alembic import context

from rollout.db.tables import metadata


def run(connection: sa.Connection) -> None:
    batch = connection.dialect.name == "sqlite"  # which cannot alter a column in place
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=batch)
    with context.begin_transaction():
        context.run_migrations()


held = context.config.attributes.get("connection")
if held is not None:
    run(held)
else:
    engine = sa.create_engine(context.get_x_argument(as_dictionary=True)["url"])
    with engine.connect() as opened:
        run(opened)
    engine.dispose()
