"""The configuration that `shoal-server init` writes: every key with what it means, at its default."""

from __future__ import annotations

import json
from typing import Final

TEMPLATE: Final = """\
# Shoal server. `shoal-server serve` reads this file when it starts; unknown keys are refused.

[federation]
# What people see when they join, 1 to 80 characters.
name = {name}
# Name or address under which devices reach this machine. It stands in the self-made certificate: after a change,
# delete the folder tls/ and run `shoal-server init` again.
host = {host}
# The one port that is reachable from outside; TLS, and nothing but the devices' interface and enrolment.
port = {port}
# Address that the proxy binds: 0.0.0.0 for all of this machine's, :: for those of IPv6 as well.
listen = {listen}

[tls]
# Your own certificate (PEM, with its chain) and key. Both empty: the self-made one in tls/.
certificate = ""
key = ""
# PEM of your own certificate's authority, if devices do not trust that one anyway.
authority = ""

[inside]
# Ports on loopback, for the parts among themselves. Nobody outside this machine reaches them. Whoever has an account
# on it does: give it none.
superlink = {superlink}
enrolment = {enrolment}
page = {page}

[devices]
# Seconds between two looks of a device for messages, 0.2 to 30. A SuperLink answers some 200 looks a second where it
# has a core to itself: leave half of that for rounds.
poll-seconds = 5.0
# Devices come online at a random moment within so many seconds, so that not all come at once.
jitter-seconds = 60.0
# How long the code of `shoal-server enroll` is good for.
code-hours = 72.0
# How many may sit behind one address, as a household or a school does: so many requests a second are served from there.
from-one-address = 100

[schedule]
# Hours of the day, UTC, at which a run is started; [] for none but those of `shoal-server run-round`.
hours = [2]
# Rounds of each kind in one run.
rounds = 1

[rounds]
# SHA-256 of the backbone's weights, as `shoal-sim basis` prints it.
backbone = {backbone}
# The public basis: an .npy file of shape (width, dimensions); a relative path counts from this folder.
public-basis = "basis.npy"
# Database of rounds and priors, an SQLAlchemy URL such as postgresql+psycopg://user@host/shoal. Empty: SQLite here.
registry = {registry}
# Where several SuperLinks feed one registry, the name of this one, different from the others'.
shard = ""
# Kinds of concepts, comma-separated: object, style, taste.
kinds = "object,style,taste"
# Fewest people in a round; devices refuse rounds of fewer than 8, whatever is said here.
minimum-people = 8
# How many must be ready for a round to start: one number, or one for each kind ("12,8"). Empty: minimum-people.
wave-size = ""
# What a round costs each of its people at most, as central epsilon at delta. The noise is planned for it.
epsilon = 1.0
delta = 1e-6
# Longest displacement, in units of the embedding; a longer one is scaled down to it, and noise is as large: one number,
# or one for each kind ("1.5,2,0.4"). Empty: what suits each kind.
clip = ""
# Most directions of a cohort, and most cohorts of a prior.
max-directions = 16
cohorts = 2
# Seconds: at least so long between two looks at who is ready; for the replies of one exchange; and after so long
# without a round it starts with those who are ready, or the run ends.
poll-seconds = 5.0
deadline-seconds = 60.0
patience-seconds = 3600.0
"""


def fill(
    *,
    name: str,
    host: str,
    port: int,
    listen: str,
    superlink: int,
    enrolment: int,
    page: int,
    backbone: str,
    registry: str = "",
) -> str:
    """Give the file's text; a JSON scalar is a TOML scalar as well."""
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in locals().items()}
    return TEMPLATE.format(**values)
