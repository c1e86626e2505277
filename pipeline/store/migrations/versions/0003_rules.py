"""Rules and templates with versions and states; what an output came from"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("added_at", sa.String(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "rule", "version"),
    )
    op.create_table(
        "rule_states",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("rule_states_of_rule", "rule_states", ["client_id", "rule"])
    op.create_table(
        "template_versions",
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("added_at", sa.String(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "template", "version"),
    )
    op.create_table(
        "template_states",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("template_states_of_template", "template_states", ["client_id", "template"])
    op.create_table(
        "rule_replays",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("replayed_at", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("from_at", sa.String(), nullable=False),
        sa.Column("to_at", sa.String(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.add_column("outputs", sa.Column("rule", sa.String(), nullable=False, server_default=""))
    op.add_column("outputs", sa.Column("rule_version", sa.String(), nullable=False, server_default=""))
    op.add_column("outputs", sa.Column("step_id", sa.String(), nullable=False, server_default=""))
    op.add_column("outputs", sa.Column("trigger_event_id", sa.String()))
    op.add_column("outputs", sa.Column("template", sa.String(), nullable=False, server_default=""))
    op.add_column("outputs", sa.Column("template_version", sa.String(), nullable=False, server_default=""))
    op.add_column("outputs", sa.Column("first_sent_at", sa.String()))
    op.add_column("outputs", sa.Column("respond_by", sa.String()))
    op.add_column("outputs", sa.Column("escalated", sa.Integer(), nullable=False, server_default="0"))
