"""Rounds survive crashes, books say why, and neither a sum nor a prior can be changed any more."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_PRIOR: Final = "priors are immutable: publish another version"
_SUM: Final = "the books of a round are immutable"
_BOOKED: Final = (
    "id", "kind", "backbone", "public_basis", "exchange", "called", "people", "sum", "clip", "length", "scale",
    "share_variance", "modulus_bits", "noise_variance", "prior_version", "started", "ended", "shard", "dropouts",
)  # fmt: skip
"""All columns but `state` and `reason`, which say what became of the sum."""


def upgrade() -> None:
    """Add tables, columns and triggers."""
    op.create_table(
        "open_rounds",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("shard", sa.String(64), nullable=False),
        sa.Column("holder", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("backbone", sa.String(64), nullable=False),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "exchanges",
        sa.Column("round_id", sa.String(64), primary_key=True),
        sa.Column("action", sa.String(16), primary_key=True),
        sa.Column("failures", sa.Text, nullable=False),
    )
    op.create_table(
        "replies",
        sa.Column("round_id", sa.String(64), primary_key=True),
        sa.Column("action", sa.String(16), primary_key=True),
        sa.Column("node", sa.String(24), primary_key=True),
        sa.Column("reply", sa.LargeBinary, nullable=False),
    )
    op.add_column("rounds", sa.Column("shard", sa.String(64), nullable=False, server_default=""))
    op.add_column("rounds", sa.Column("reason", sa.Text, nullable=False, server_default=""))
    op.add_column("rounds", sa.Column("dropouts", sa.Text, nullable=False, server_default="{}"))
    op.add_column("priors", sa.Column("fit", sa.Text, nullable=False, server_default="{}"))
    for statement in _triggers(op.get_bind().dialect.name):
        op.execute(statement)


def _triggers(dialect: str) -> list[str]:
    if dialect == "sqlite":
        changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in _BOOKED)
        rules = (
            ("priors_stay", "UPDATE ON priors", "", _PRIOR),
            ("priors_remain", "DELETE ON priors", "", _PRIOR),
            ("rounds_stay", "UPDATE ON rounds", f"WHEN {changed}", _SUM),
            ("rounds_remain", "DELETE ON rounds", "", _SUM),
        )
        return [
            f"CREATE TRIGGER {name} BEFORE {event} {when} BEGIN SELECT RAISE(ABORT, '{why}'); END"
            for name, event, when, why in rules
        ]
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in _BOOKED)
    refused = (
        ("priors_stay", "UPDATE OR DELETE ON priors FOR EACH ROW", "", _PRIOR),
        ("priors_whole", "TRUNCATE ON priors", "", _PRIOR),
        ("rounds_stay", "UPDATE ON rounds FOR EACH ROW", f"WHEN ({changed})", _SUM),
        ("rounds_remain", "DELETE ON rounds FOR EACH ROW", "", _SUM),
        ("rounds_whole", "TRUNCATE ON rounds", "", _SUM),
    )
    # Error class 23, integrity constraint violation, as SQLite's own.
    function = (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$"
    )
    return [
        function,
        *(
            f"CREATE TRIGGER {name} BEFORE {event} {when} EXECUTE FUNCTION refuse_change('{why}')"
            for name, event, when, why in refused
        ),
    ]
