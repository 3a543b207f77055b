"""`python -m server.health STATE [PART...]`: exit code 0 if these parts are up, or all where none is named.

For containers and monitors. A part is up if the supervisor runs it and it listens on its port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ShoalError
from server.config import read_config
from server.service.parts import listens
from server.service.standing import running_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.config import Config


def ailing(config: Config, names: Sequence[str]) -> list[str]:
    """Name the parts that are not up: of these, or of all that were started."""
    inside = config.inside
    ports = {
        "superlink": inside.superlink,
        "enrolment": inside.enrolment,
        "page": inside.page,
        "proxy": config.federation.port,
    }
    parts: dict[str, Any] = {part["name"]: part["pid"] for part in running_parts(config.state)}
    wanted = list(names) or list(parts) or ["serve"]
    return [name for name in wanted if not parts.get(name) or (name in ports and not listens(ports[name]))]


def main() -> None:
    """Look, and say what is not up."""
    try:
        config = read_config(Path(sys.argv[1]))
    except (IndexError, ShoalError) as error:
        sys.exit(str(error))
    if found := ailing(config, sys.argv[2:]):
        sys.exit(f"not up: {', '.join(found)}")


if __name__ == "__main__":
    main()
