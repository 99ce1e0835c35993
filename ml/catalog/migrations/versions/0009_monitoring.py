"""Whoever only reads may see at which migration the database is: Airflow's page "Model health" asks first."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT SELECT ON public.alembic_version TO grafana_ro")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON public.alembic_version FROM grafana_ro")
