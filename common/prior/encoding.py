"""The bytes of a prior, version 1, everything little-endian.

    magic  "SHOALPRI"
    u32    format version = 1
    u32    length of the header
    bytes  header: JSON, ASCII, sorted keys, no spaces
    f64[]  public basis (width, dimensions) by rows; then for each cohort
           weight, residual, mean (dimensions), spectrum (directions), basis (dimensions, directions) by rows

There is exactly one encoding of a prior: bytes that decode to a prior which encodes to other bytes are refused.
No pickle, no code, nothing allocated before its size is known to be allowed.
"""

from __future__ import annotations

import json
import re
import struct
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from common.errors import PriorError
from common.prior.model import KINDS, MAXIMUM_COHORTS, MAXIMUM_DIMENSIONS, MAXIMUM_WIDTH, Cohort, Prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC: Final = b"SHOALPRI"
_FORMAT: Final = 1
_PREAMBLE: Final = struct.Struct("<8sII")

MAXIMUM_HEADER: Final = 1 << 20
"""Bytes of JSON; room for some 10,000 round ids."""
MAXIMUM_PAYLOAD: Final = (
    _PREAMBLE.size
    + MAXIMUM_HEADER
    + 8 * MAXIMUM_DIMENSIONS * MAXIMUM_WIDTH
    + 8 * MAXIMUM_COHORTS * (2 + 2 * MAXIMUM_DIMENSIONS + MAXIMUM_DIMENSIONS**2)
)
"""Bytes of the largest prior there can be, about 5.7 MB; one for Stable Diffusion 1.5 has about 0.4 MB."""

_BACKBONE: Final = re.compile(r"[0-9a-f]{64}")
_ROUND: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_CREATED: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_HEADER_FIELDS: Final = frozenset(
    {"backbone", "kind", "version", "people", "rounds", "epsilon", "created", "width", "dimensions", "directions"}
)


def encode_prior(prior: Prior) -> bytes:
    """Give the one canonical encoding of `prior`; the format stands at the top of this file.

    Raises:
        PriorError: a field has no encoding (a name outside its alphabet, arrays whose shapes disagree).
    """
    header = {
        "backbone": prior.backbone,
        "kind": prior.kind,
        "version": prior.version,
        "people": prior.people,
        "rounds": list(prior.rounds),
        "epsilon": prior.epsilon,
        "created": prior.created,
        "width": prior.public_basis.shape[0],
        "dimensions": prior.public_basis.shape[-1],
        "directions": [len(cohort.spectrum) for cohort in prior.cohorts],
    }
    _check_header(header)
    arrays = [prior.public_basis]
    for cohort in prior.cohorts:
        scalars = np.array([cohort.weight, cohort.residual])
        arrays += [scalars, cohort.mean, cohort.spectrum, cohort.basis]
    shapes = _shapes(header)
    if [array.shape for array in arrays] != shapes:
        raise PriorError(
            f"arrays have shapes {[array.shape for array in arrays]}, expected {shapes}: make the prior anew"
        )
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    if len(text) > MAXIMUM_HEADER:
        raise PriorError(f"a header of {len(text)} bytes exceeds {MAXIMUM_HEADER}: name fewer rounds")
    body = b"".join(np.ascontiguousarray(array, dtype="<f8").tobytes() for array in arrays)
    return _PREAMBLE.pack(_MAGIC, _FORMAT, len(text)) + text + body


def decode_prior(data: bytes) -> Prior:
    """Read what `encode_prior` wrote, trusting nothing.

    Sizes are checked before anything is parsed or allocated. The numbers themselves are judged by `check_prior`.

    Raises:
        PriorError: the bytes are not the canonical encoding of a prior.
    """
    header, body = _open_header(data)
    shapes = _shapes(header)
    sizes = [int(np.prod(shape)) for shape in shapes]
    if len(body) != 8 * sum(sizes):
        raise PriorError(f"{len(body)} bytes of numbers, the header announces {8 * sum(sizes)}: fetch the prior again")
    numbers = np.frombuffer(body, dtype="<f8").astype(np.float64)
    pieces = np.split(numbers, np.cumsum(sizes)[:-1])
    basis, *rest = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    prior = Prior(
        **{name: header[name] for name in ("backbone", "kind", "version", "people", "epsilon", "created")},
        rounds=tuple(header["rounds"]),
        public_basis=basis,
        cohorts=tuple(_cohort(rest[at : at + 4]) for at in range(0, len(rest), 4)),
    )
    if encode_prior(prior) != data:
        raise PriorError("these bytes are not the canonical encoding: fetch the prior again")
    return prior


def _open_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    if not _PREAMBLE.size <= len(data) <= MAXIMUM_PAYLOAD:
        raise PriorError(
            f"a prior of {len(data)} bytes, expected {_PREAMBLE.size} to {MAXIMUM_PAYLOAD}: fetch it again"
        )
    magic, version, length = _PREAMBLE.unpack_from(data)
    if magic != _MAGIC or version != _FORMAT or length > min(MAXIMUM_HEADER, len(data) - _PREAMBLE.size):
        raise PriorError(f"not a prior of format {_FORMAT}, or cut short: fetch it again, or update Shoal")
    end = _PREAMBLE.size + length
    try:
        header = json.loads(data[_PREAMBLE.size : end].decode("ascii"))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise PriorError("the header is not JSON: fetch the prior again") from None
    _check_header(header)
    return cast("dict[str, Any]", header), data[end:]


def _check_header(header: object) -> None:
    """Refuse a header whose fields are not exactly of the stated types and ranges."""
    if not isinstance(header, dict) or header.keys() != _HEADER_FIELDS:
        raise PriorError(f"the header must have exactly the fields {sorted(_HEADER_FIELDS)}: fetch the prior again")
    rounds, directions, dimensions = header["rounds"], header["directions"], header["dimensions"]
    sound = {
        "backbone": _matches(_BACKBONE, header["backbone"]),
        "kind": header["kind"] in KINDS,
        "version": _whole(header["version"], 1, 1 << 31),
        "people": _whole(header["people"], 1, 1 << 31),
        "rounds": isinstance(rounds, list) and all(_matches(_ROUND, item) for item in rounds),
        "epsilon": _is_epsilon(header["epsilon"]),
        "created": _matches(_CREATED, header["created"]) and _is_instant(header["created"]),
        "width": _whole(header["width"], 1, MAXIMUM_WIDTH),
        "dimensions": _whole(dimensions, 1, MAXIMUM_DIMENSIONS),
        "directions": isinstance(directions, list)
        and 1 <= len(directions) <= MAXIMUM_COHORTS
        and all(_whole(item, 0, MAXIMUM_DIMENSIONS) for item in directions),
    }
    wrong = [name for name, holds in sound.items() if not holds]
    if wrong:
        raise PriorError(f"header field {wrong[0]!r} is not usable: keep the last good prior")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # `type`, because True is an int


def _is_epsilon(value: object) -> bool:
    return value is None or (type(value) is float and 0 <= value < float("inf"))


def _is_instant(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _shapes(header: dict[str, Any]) -> list[tuple[int, ...]]:
    width, dimensions = header["width"], header["dimensions"]
    shapes: list[tuple[int, ...]] = [(width, dimensions)]
    for directions in header["directions"]:
        shapes += [(2,), (dimensions,), (directions,), (dimensions, directions)]
    return shapes


def _cohort(pieces: list[NDArray[np.float64]]) -> Cohort:
    scalars, mean, spectrum, basis = pieces
    weight, residual = scalars.tolist()
    return Cohort(weight=weight, mean=mean, basis=basis, spectrum=spectrum, residual=residual)
