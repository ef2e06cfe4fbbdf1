"""From recorded runs to insights. Pure: values in, values out."""

from __future__ import annotations

from .formations import formation_insight

__all__ = ["formation_insight"]
