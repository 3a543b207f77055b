"""Population priors: what they are (`model`), their bytes (`encoding`), and who made them (`signature`).

A prior from another machine comes in through `open_prior` alone, and nothing but `PriorError` gets out of it.
"""

from __future__ import annotations

from common.prior.encoding import MAXIMUM_PAYLOAD, decode_prior, encode_prior
from common.prior.model import (
    KINDS,
    MAXIMUM_COHORTS,
    MAXIMUM_DIMENSIONS,
    MAXIMUM_NORM,
    MAXIMUM_WIDTH,
    MINIMUM_VARIANCE,
    Cohort,
    Kind,
    Prior,
    check_cohorts,
    check_prior,
    check_public_basis,
)
from common.prior.signature import SignedPrior, is_signed, open_prior, sign_payload, sign_prior

__all__ = [
    "KINDS",
    "MAXIMUM_COHORTS",
    "MAXIMUM_DIMENSIONS",
    "MAXIMUM_NORM",
    "MAXIMUM_PAYLOAD",
    "MAXIMUM_WIDTH",
    "MINIMUM_VARIANCE",
    "Cohort",
    "Kind",
    "Prior",
    "SignedPrior",
    "check_cohorts",
    "check_prior",
    "check_public_basis",
    "decode_prior",
    "encode_prior",
    "is_signed",
    "open_prior",
    "sign_payload",
    "sign_prior",
]
