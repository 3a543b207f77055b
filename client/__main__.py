"""`python -m client` is `shoal`."""

from __future__ import annotations

from client.cli import main

if __name__ == "__main__":
    main()
