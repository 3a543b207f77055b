"""Letting devices in and shutting them out: codes and key files, certificates, and the SuperLink's list of nodes.

The roster is the truth. What it says is done at the SuperLink at once where that runs, and otherwise by `reconcile`,
when it next starts; a SuperLink that lost its database is filled anew the same way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from common.enrolment import Admission, answer
from common.errors import ConfigError, ProtocolError
from common.terms import Terms, sign_terms
from server.bundle import HASH_FILE
from server.control import control
from server.log import events
from server.state import outer
from server.succession import succession

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from common.enrolment import Application
    from server.config import Config
    from server.control import Control
    from server.roster import Device, Roster

_LOG: Final = events("shoal.admission")


class RefusedError(ProtocolError):
    """A device is not let in."""

    def __init__(self, status: int) -> None:
        """Say why by a status of HTTP; the device tells the person what it means."""
        super().__init__(f"not let in: {status}")
        self.status = status


def terms_of(config: Config, operator: Ed25519PrivateKey) -> bytes:
    """Give the operator's terms, signed, as they are now.

    Raises:
        ConfigError: the configuration lacks something, or the bundle was never built.
    """
    settings, pair = config.run_settings(), outer(config)
    try:
        bundle = (config.state / HASH_FILE).read_text(encoding="ascii").strip()
        width = len(np.load(settings.public_basis, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ConfigError("the bundle or the public basis is missing: `shoal-server serve` makes the one") from error
    terms = Terms(
        name=config.federation.name,
        address=config.federation.address,
        authority=pair.authority.read_text(encoding="ascii") if pair.authority else "",
        backbone=settings.backbone,
        width=width,
        bundles=(bundle,),
        kinds=settings.kinds,
        minimum_people=settings.minimum_people,
        epsilon=settings.epsilon,
        delta=settings.delta,
        rounds_a_month=config.rounds_a_month,
        hours=config.schedule.hours,
        poll_seconds=config.devices.poll_seconds,
        jitter_seconds=config.devices.jitter_seconds,
        issued=int(time.time()),
    )
    return sign_terms(terms, operator, succession(config.state))


def admit(config: Config, roster: Roster, operator: Ed25519PrivateKey, application: Application) -> Admission:
    """Let a device in that has a good code, or is on the roster already.

    Raises:
        RefusedError: it may not come in.
        ProtocolError: its request is not by the holder of the key in it.
        ConfigError: the SuperLink does not run; the device may ask again with the same code.
    """
    certificate = answer(operator, application.request)
    identity = application.identity.hex()
    device = roster.device(identity)
    if device is None or application.secret:
        device = _invited(roster, application)
    if device.revoked is not None:
        raise RefusedError(410)
    if device.node_key != application.node_key:
        raise RefusedError(401)
    with control(config) as link:
        number = _enter(link, device)
    roster.number(identity, number)
    return Admission(certificate=certificate, node=number)


def revoke(config: Config, roster: Roster, device: Device) -> bool:
    """Shut a device out: rounds refuse its certificate, and the SuperLink its signature, from now on.

    Returns:
        Whether the SuperLink knows already; otherwise it does when it next starts.
    """
    roster.revoke(device.identity)
    try:
        with control(config) as link:
            for node in link.nodes():
                if node.key == device.node_key:
                    link.unregister(node.number)
    except ConfigError:
        return False
    return True


def reconcile(config: Config, roster: Roster) -> None:
    """Make the SuperLink's list of nodes that of the roster.

    Raises:
        ConfigError: the SuperLink does not run.
    """
    with control(config) as link:
        nodes = {node.key: node for node in link.nodes()}
        wanted = {device.node_key: device for device in roster.devices() if device.revoked is None}
        for key in nodes.keys() - wanted.keys():
            link.unregister(nodes[key].number)
        for key, device in wanted.items():
            number = nodes[key].number if key in nodes else link.register(key)
            if number != device.node:
                roster.number(device.identity, number)
    _LOG.info("devices that may connect", devices=len(wanted), shut_out=len(nodes.keys() - wanted.keys()))


def _invited(roster: Roster, application: Application) -> Device:
    identity = application.identity.hex()
    if not application.secret:
        raise RefusedError(403)
    label = roster.redeem(application.secret, identity)
    if label is None:
        raise RefusedError(401)
    try:
        return roster.admit(identity, application.node_key, label)
    except ConfigError as error:
        raise RefusedError(401) from error


def _enter(link: Control, device: Device) -> int:
    """Give the SuperLink's number for a device, which is let in where it is not yet."""
    for node in link.nodes():
        if node.key == device.node_key:
            return node.number
    return link.register(device.node_key)
