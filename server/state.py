"""The server's state folder: what is where, and how `shoal-server init` makes it.

    shoal-server.toml   the configuration               signing-key.pem     signs priors, terms and enrolments
    basis.npy           the public basis                superexec.secret    lets the SuperExec claim tasks
    registry.sqlite     rounds and priors               roster.sqlite       codes and devices
    succession.json     the signing keys before this one and what they say of it
    tls/  inside/       certificates: towards devices; on loopback
    flower/             Flower's own: the SuperLink's database, installed bundles
    proxy/  log/        what the proxy needs; what the parts say

Everything but flower/, proxy/, log/ and inside/ is worth a backup (docs/operate.md).
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import ConfigError
from server.certificates import AUTHORITY, CERTIFICATE, KEY, make_certificates
from server.config import FILE, Config, Federation, Inside, read_config
from server.keys import signing_key
from server.rounds import load_basis
from server.template import fill

LOOPBACK: Final = "127.0.0.1"
SECRET: Final = "superexec.secret"  # noqa: S105 - a file's name
BASIS: Final = "basis.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What `init` is told; the rest is at its default in the file."""

    federation: Federation
    inside: Inside
    backbone: str = ""
    public_basis: Path | None = None
    registry: str = ""
    """SQLAlchemy URL; empty for SQLite in the state folder."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and where its parts are."""

    certificate: Path
    key: Path
    authority: Path | None
    """None: one that every system trusts."""


def prepare(state: Path, beginning: Beginning) -> Config:
    """Make what is missing in a state folder; what is there stays as it is.

    Raises:
        ConfigError: something there cannot be used, or the folder cannot be written.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {state} ({error.strerror}): choose another folder") from error
    signing_key(state)
    _keep_secret(state / SECRET)
    if beginning.public_basis is not None:
        load_basis(beginning.public_basis)
        shutil.copyfile(beginning.public_basis, state / BASIS)
    if not (state / FILE).exists():
        with os.fdopen(os.open(state / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_text(beginning).encode())
    config = read_config(state)
    refresh_certificates(config)
    return config


def refresh_certificates(config: Config) -> None:
    """Make or renew the certificates that are ours to make.

    Raises:
        ConfigError: the operator's own cannot be found, or ours cannot be read.
    """
    make_certificates(config.state / "inside", LOOPBACK)
    if not config.tls.certificate:
        make_certificates(config.state / "tls", config.federation.host)
    pair = outer(config)
    for path in (pair.certificate, pair.key, pair.authority):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no {path}, which [tls] names: mend {FILE}")


def outer(config: Config) -> Pair:
    """Give the certificate that devices see."""
    if not config.tls.certificate:
        folder = config.state / "tls"
        return Pair(folder / CERTIFICATE, folder / KEY, folder / AUTHORITY)
    own = {name: config.state / getattr(config.tls, name) for name in ("certificate", "key")}  # absolute ones stay so
    return Pair(**own, authority=config.state / config.tls.authority if config.tls.authority else None)


def inner(config: Config) -> Pair:
    """Give the certificate of the SuperLink, which only our own parts see."""
    folder = config.state / "inside"
    return Pair(folder / CERTIFICATE, folder / KEY, folder / AUTHORITY)


def _keep_secret(path: Path) -> None:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))


def _text(beginning: Beginning) -> str:
    federation, inside = beginning.federation, beginning.inside
    return fill(
        name=federation.name,
        host=federation.host,
        port=federation.port,
        listen=federation.listen,
        superlink=inside.superlink,
        enrolment=inside.enrolment,
        page=inside.page,
        backbone=beginning.backbone,
        registry=beginning.registry,
    )
