"""`python -m victor_autotune_testing.scripted.sandboxed_victor ...`: Victor's own command line, believing `HOME`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import sandboxed


def main(argv: Sequence[str]) -> None:
    """Run Victor's command line.

    Args:
        argv: Its arguments, such as `["plugin", "list"]`.

    Raises:
        SystemExit: It ended with an exit code.
    """
    sandboxed.main(["victor", *argv])


if __name__ == "__main__":
    main(sys.argv[1:])
