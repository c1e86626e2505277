"""Holds: who opened them, since when their cause is gone, what became of what they held"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("holds", sa.Column("opened_by", sa.String(), nullable=False, server_default="leadtrail"))
    op.add_column("holds", sa.Column("clearable_at", sa.String()))
    op.add_column("holds", sa.Column("clearable_because", sa.Text()))
    op.add_column("holds", sa.Column("released", sa.Integer()))
    op.add_column("holds", sa.Column("left_over", sa.Integer()))
