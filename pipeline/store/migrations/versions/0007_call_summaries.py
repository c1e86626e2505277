"""What a model said of calls, for staff"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "call_summaries",
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("lead_id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "event_id"),
    )
    with op.batch_alter_table("call_summaries", schema=None) as batch_op:
        batch_op.create_index("call_summaries_of_lead", ["client_id", "lead_id"], unique=False)
