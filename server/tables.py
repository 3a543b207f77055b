"""The tables of the operator's database, as `server.migrations` leaves them; a test holds the two together.

`rounds` and `priors` are the books: rows are added and never removed, and the database itself refuses to change a sum
or a prior (triggers). `open_rounds`, `exchanges` and `replies` are a round's state while it lasts: everything that is
needed to go on with it after a crash, gone in the transaction that books its end.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()

ROUNDS: Final = sa.Table(
    "rounds",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("backbone", sa.String(64), nullable=False),
    sa.Column("public_basis", sa.String(64), nullable=False),  # SHA-256: sums over different bases never mix
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("exchange", sa.String(16), nullable=False),
    sa.Column("called", sa.Integer, nullable=False),
    sa.Column("people", sa.Integer, nullable=False),
    sa.Column("sum", sa.LargeBinary, nullable=True),
    sa.Column("clip", sa.Float(53), nullable=False),
    # The mechanism, so that what the sum cost and how noisy it is can be computed anew.
    sa.Column("length", sa.Integer, nullable=False),
    sa.Column("scale", sa.Float(53), nullable=False),
    sa.Column("share_variance", sa.BigInteger, nullable=False),
    sa.Column("modulus_bits", sa.Integer, nullable=False),
    sa.Column("noise_variance", sa.Float(53), nullable=False),
    sa.Column("prior_version", sa.Integer, nullable=False),
    sa.Column("started", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended", sa.DateTime(timezone=True), nullable=False),
    sa.Column("shard", sa.String(64), nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),  # why aborted, withheld or rejected
    sa.Column("dropouts", sa.Text, nullable=False, server_default="{}"),  # JSON: how many, by exchange and cause
    sa.Index("rounds_by_prior", "backbone", "kind", "public_basis", "state"),
)

PRIORS: Final = sa.Table(
    "priors",
    METADATA,
    sa.Column("backbone", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("fit", sa.Text, nullable=False, server_default="{}"),  # JSON: `server.publication.Fit`
)

OPEN_ROUNDS: Final = sa.Table(
    "open_rounds",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("shard", sa.String(64), nullable=False),
    sa.Column("holder", sa.Integer, nullable=False),  # counts the processes that took it up; only the last may write
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("backbone", sa.String(64), nullable=False),
    sa.Column("call", sa.Text, nullable=False),  # JSON: the announcement
    sa.Column("nodes", sa.Text, nullable=False),  # JSON: whom it went to
    sa.Column("started", sa.DateTime(timezone=True), nullable=False),
    sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
)

EXCHANGES: Final = sa.Table(
    "exchanges",
    METADATA,
    sa.Column("round_id", sa.String(64), primary_key=True),
    sa.Column("action", sa.String(16), primary_key=True),
    sa.Column("failures", sa.Text, nullable=False),  # JSON: how many, by cause
)
"""The exchanges that are over: what was answered then is what the next one is built on, for ever."""

REPLIES: Final = sa.Table(
    "replies",
    METADATA,
    sa.Column("round_id", sa.String(64), primary_key=True),
    sa.Column("action", sa.String(16), primary_key=True),
    sa.Column("node", sa.String(24), primary_key=True),  # 64 bits without a sign, more than an integer column has
    sa.Column("reply", sa.LargeBinary, nullable=False),
)

EXCLUSIONS: Final = sa.Table(
    "exclusions",
    METADATA,
    sa.Column("identity", sa.String(64), primary_key=True),
    sa.Column("round_id", sa.String(64), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
)
"""Devices that are left out of rounds for a time; rows stay, as a record, when their time is over."""
