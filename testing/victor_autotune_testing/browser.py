"""A real Chromium for the tests of the page; `make browser` installs one or names it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
"""What it is called on the path; the environment variable `CHROMIUM` names another."""

REQUIRED: Final = "AUTOTUNE_NEEDS_BROWSER"
"""Environment variable: without a browser tests fail, and are not skipped."""


def find() -> str | None:
    """Return the path of a Chromium, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Start a Chromium for the time of a block; it reaches this machine alone.

    Args:
        path: Path of the program.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    """Print the path of the Chromium that tests use, or how to get one."""
    print(find() or "No Chromium: install one, or name it in CHROMIUM.")  # noqa: T201


if __name__ == "__main__":
    main()
