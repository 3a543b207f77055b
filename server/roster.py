"""Who may take part: the codes that are out, and the devices that were let in; a database of one SuperLink.

A code's secret is kept as its SHA-256 only; at 80 random bits nobody finds it from that. SQLAlchemy Core 2 on SQLite,
because a SuperLink and its devices belong to one machine, however many feed one registry.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from common.errors import ConfigError
from common.invitation import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

ROSTER: Final = "roster.sqlite"
_METADATA: Final = sa.MetaData()
_CODES: Final = sa.Table(
    "codes",
    _METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("expires", sa.Float(53), nullable=False),
    sa.Column("identity", sa.String(64), nullable=True),  # of the device that spent it
)
_DEVICES: Final = sa.Table(
    "devices",
    _METADATA,
    sa.Column("identity", sa.String(64), primary_key=True),
    sa.Column("node_key", sa.String(512), nullable=False, unique=True),
    sa.Column("node", sa.String(20), nullable=False),  # 64 bits without a sign: SQLite's integers have one
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("enrolled", sa.Float(53), nullable=False),
    sa.Column("revoked", sa.Float(53), nullable=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One that was let in."""

    identity: str
    """Its Ed25519 public key, hex: its name in rounds."""
    node_key: str
    """Its P-384 public key, PEM: its name in Flower."""
    node: int
    """The SuperLink's number for it; 0 while it has none."""
    label: str
    """The operator's own note."""
    enrolled: float
    """Seconds since 1970."""
    revoked: float | None
    """When it was shut out."""


class Roster:
    """The database."""

    def __init__(self, state: Path, now: Callable[[], float] = time.time) -> None:
        """Open the roster of a state folder, or make it.

        Raises:
            ConfigError: it cannot be used.
        """
        self._now = now
        self._engine = sa.create_engine(f"sqlite:///{state / ROSTER}", connect_args={"timeout": 30})
        try:
            _METADATA.create_all(self._engine)
        except sa.exc.SQLAlchemyError as error:
            raise ConfigError(f"{state / ROSTER} cannot be used: restore it from a backup") from error

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._engine.dispose()

    def invite(self, label: str, seconds: float) -> bytes:
        """Make a code that is good for one device and so many seconds; give its secret, which is kept nowhere."""
        secret = secrets.token_bytes(SECRET)
        row = {"digest": _digest(secret), "label": label, "expires": self._now() + seconds}
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_CODES).where(_CODES.c.expires < self._now()))
            connection.execute(sa.insert(_CODES), row)
        return secret

    def redeem(self, secret: bytes, identity: str) -> str | None:
        """Spend a code for a device; the same device may come again with it, as when an answer was lost.

        All codes are compared, each in constant time.

        Returns:
            The code's label; None if there is no such code, or it was spent by another or has expired.
        """
        digest, found = _digest(secret), None
        with self._engine.begin() as connection:
            for row in connection.execute(sa.select(_CODES)):
                if hmac.compare_digest(row.digest, digest):
                    found = row
            if found is None or found.expires < self._now() or found.identity not in {None, identity}:
                return None
            mine = sa.or_(_CODES.c.identity.is_(None), _CODES.c.identity == identity)
            spend = sa.update(_CODES).where(_CODES.c.digest == digest, mine).values(identity=identity)
            return str(found.label) if connection.execute(spend).rowcount else None

    def admit(self, identity: str, node_key: str, label: str) -> Device:
        """Let a device in; one that is in already stays as it is, also when it is revoked.

        Raises:
            ConfigError: another device has this node key, or this one had another.
        """
        row = {"identity": identity, "node_key": node_key, "node": "0", "label": label, "enrolled": self._now()}
        with self._engine.begin() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(sa.insert(_DEVICES), row)
            except sa.exc.IntegrityError:
                pass  # in already, or refused below
        found = self.device(identity)
        if found is None or found.node_key != node_key:
            raise ConfigError("this device's two keys do not belong together: it must join from a fresh state folder")
        return found

    def number(self, identity: str, node: int) -> None:
        """Note the SuperLink's number for a device."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(_DEVICES).where(_DEVICES.c.identity == identity).values(node=str(node)))

    def revoke(self, identity: str) -> None:
        """Shut a device out for good; what it gave before stays in the sums that it is in."""
        with self._engine.begin() as connection:
            here = sa.and_(_DEVICES.c.identity == identity, _DEVICES.c.revoked.is_(None))
            connection.execute(sa.update(_DEVICES).where(here).values(revoked=self._now()))

    def device(self, identity: str) -> Device | None:
        """Give the device of that identity."""
        found = [one for one in self.devices() if one.identity == identity]
        return found[0] if found else None

    def devices(self) -> list[Device]:
        """Give all devices, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_DEVICES).order_by(_DEVICES.c.enrolled))
            return [_device(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's documented name

    def find(self, text: str) -> Device:
        """Give the one device whose label is this, or whose identity begins like this.

        Raises:
            ConfigError: there is none, or more than one.
        """
        found = [one for one in self.devices() if one.label == text or (text and one.identity.startswith(text))]
        if len(found) != 1:
            raise ConfigError(f"{len(found)} devices are {text!r}: `shoal-server status --devices` lists them all")
        return found[0]

    def open_codes(self) -> int:
        """Count the codes that could still be spent."""
        unspent = sa.and_(_CODES.c.identity.is_(None), _CODES.c.expires >= self._now())
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_CODES).where(unspent)).scalar_one())

    def revoked(self, moment: float) -> frozenset[bytes]:
        """Give the identities, 32 bytes each, that were shut out at a moment, in seconds since 1970."""
        gone = [one for one in self.devices() if one.revoked is not None and one.revoked <= moment]
        return frozenset(bytes.fromhex(one.identity) for one in gone)


def revoked_by(state: Path) -> Callable[[datetime], frozenset[bytes]]:
    """Give what rounds ask at their beginning; the roster is read each time. In simulations there is none."""

    def revoked(moment: datetime) -> frozenset[bytes]:
        if not (state / ROSTER).exists():
            return frozenset()
        with Roster(state) as roster:
            return roster.revoked(moment.timestamp())

    return revoked


def _device(row: Any) -> Device:  # noqa: ANN401 - a row is what its select says
    return Device(**{**row, "node": int(row["node"])})


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
