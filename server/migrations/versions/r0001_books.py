"""Rounds with their sums, and priors: the tables of milestone 1, which made them without Alembic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "rounds",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("backbone", sa.String(64), nullable=False),
        sa.Column("public_basis", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("exchange", sa.String(16), nullable=False),
        sa.Column("called", sa.Integer, nullable=False),
        sa.Column("people", sa.Integer, nullable=False),
        sa.Column("sum", sa.LargeBinary, nullable=True),
        sa.Column("clip", sa.Float(53), nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("scale", sa.Float(53), nullable=False),
        sa.Column("share_variance", sa.BigInteger, nullable=False),
        sa.Column("modulus_bits", sa.Integer, nullable=False),
        sa.Column("noise_variance", sa.Float(53), nullable=False),
        sa.Column("prior_version", sa.Integer, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("rounds_by_prior", "rounds", ["backbone", "kind", "public_basis", "state"])
    op.create_table(
        "priors",
        sa.Column("backbone", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
    )
