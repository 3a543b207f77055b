"""A coverage-guided search for bytes that raise anything but `ProtocolError`: `python fuzz_secagg.py TARGET SECONDS`.

    device   requests of a hostile server, put to honest devices in every state
    server   replies of a hostile device, among those of honest ones, in every exchange
    states   bytes of a damaged store, and what a device then does with the next request
    planted  as `device`, with a mistake in the decryption of shares: the search must find it

Atheris 3.0.0 (libFuzzer). Signatures count as good where the input says so, or nothing behind them would be reached.
`test_secagg_fuzz.py` runs it in the slow suite.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["common.secagg"]):
    from common.secagg import messages, read_state, shares, states, wire

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import AbortedRoundError, ConfigError, ProtocolError
from common.secagg.identity import verify
from simulations.secagg import EXCHANGES, Round, new_cohort

PEOPLE, LIAR = 5, 2
"""q = 4, t = 3: somebody may drop out."""
REQUESTS = (None, messages.Roster, messages.Delivery, messages.Survivors, messages.UnmaskRequest)
REPLIES = (
    messages.Advertisement,
    messages.Shares,
    messages.MaskedVector,
    messages.Confirmation,
    messages.Unmasking,
)
STATES = (states.Advertised, states.Shared, states.Masked, states.Confirmed, states.Done)
PREAMBLE = 14
FRAMED, BELIEVED = 8, 16
"""Bits of an input's first byte, above the number of the exchange: give it a proper frame; take signatures as good."""


def stopped():
    """One true round, stopped before each exchange, with all replies to it."""
    cohort = new_cohort(PEOPLE, length=4)
    found = []
    for exchange in EXCHANGES:
        held = Round(cohort, [np.full(4, number, np.uint32) for number in range(PEOPLE)]).until(exchange)
        before = dict(held.states)
        found.append((held, before, {number: held.answer(number) for number in held.requests}))
    return found


ROUNDS = stopped()


def believe(public, signature, message):
    return True


def opened(data, kinds):
    """Split an input into exchange, message and the judge of signatures."""
    choice = data[0] if data else 0
    at = choice % 8 % len(kinds)
    body = data[1:]
    if choice & FRAMED and kinds[at] is not None:
        body = wire.frame(kinds[at].kind, body)
    return at, body, believe if choice & BELIEVED else verify


def device(data):
    at, request, judge = opened(data, REQUESTS)
    if REQUESTS[at] is None:
        return
    held, before, _ = ROUNDS[at]
    held.states = dict(before)
    try:
        reply = held.answer(LIAR, request, verify=judge)
    except ProtocolError:
        return
    if REPLIES[at].from_bytes(reply).to_bytes() != reply:
        raise AssertionError("a reply out of form")


def server(data):
    at, reply, judge = opened(data, REPLIES)
    held, _, replies = ROUNDS[at]
    kept = (held.exchange, held.gathered, held.requests)
    try:
        held.gather(replies | {LIAR: reply}, verify=judge)
        dropped = (held.sum or held.gathered).dropped
        if not set(dropped) <= {LIAR}:
            raise AssertionError(f"somebody honest was left out: {dropped}")
        if held.sum and not set(held.sum.blamed) <= {LIAR}:
            raise AssertionError("somebody honest was blamed")
        if held.sum and held.sum.total.tolist() != [10] * 4:
            raise AssertionError("a wrong sum")
    except AbortedRoundError:
        raise AssertionError("one device ended the round") from None
    finally:
        (held.exchange, held.gathered, held.requests), held.sum = kept, None


def stored(data):
    at, kept, judge = opened(data, STATES)
    try:
        state = read_state(kept)
        held, _, _ = ROUNDS[min(at + 1, len(ROUNDS) - 1)]
        held.states = {LIAR: state}
        held.answer(LIAR, verify=judge)
    except (ProtocolError, ConfigError):  # the stored terms may be for vectors of another length
        return


def plant():
    """Forget that a neighbour may send what does not decrypt."""
    shares.unseal = lambda key, sealed, transcript: AESGCM(key).decrypt(sealed[:12], sealed[12:], transcript)


def seeds(target):
    """Give true messages to start from, framed and not, believed and not."""
    for at, (held, before, replies) in enumerate(ROUNDS):
        kept = {"server": replies[LIAR], "states": ROUNDS[at][0].states[LIAR].to_bytes()}
        data = kept.get(target, held.requests[LIAR])
        for choice in (at, at | BELIEVED):
            yield bytes([choice]) + data
            yield bytes([choice | FRAMED]) + data[PREAMBLE:]
        if target == "states" and before:
            yield bytes([at]) + before[LIAR].to_bytes()


def main(target, seconds):
    """Search for that long; a finding ends the process with a code that is not 0."""
    work = {"device": device, "planted": device, "server": server, "states": stored}[target]
    if target == "planted":
        plant()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(target)):
            Path(folder, str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=30", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], folder, *options], work)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
