"""The cohort of a resource in a column of its own, so that a cohort's audits are found without reading every body."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COHORT = {"sqlite": """json_extract(body, '$."cohort"')""", "postgresql": "body ->> 'cohort'"}
KIND = {
    "sqlite": """json_type(body, '$."cohort"') = 'text'""",
    "postgresql": "json_typeof(body -> 'cohort') = 'string'",
}


def upgrade() -> None:
    op.add_column("resources", sa.Column("cohort", sa.String(255)))
    dialect = op.get_bind().dialect.name
    op.execute(f"UPDATE resources SET cohort = {COHORT[dialect]} WHERE {KIND[dialect]}")
    op.create_index("resources_by_cohort", "resources", ["kind", "cohort", "seq"])
