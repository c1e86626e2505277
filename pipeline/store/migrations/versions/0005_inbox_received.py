"""When each connection's webhooks came, without reading their bodies"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("inbox_received", "inbox", ["client_id", "provider", "received_at"])
