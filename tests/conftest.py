"""What all tests share: a home of their own, and real Victor on a scripted model."""

from __future__ import annotations

pytest_plugins = ("tests.realvictor",)
