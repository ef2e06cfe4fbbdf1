"""Heights of 95 % intervals, for screens that load nothing else of the analysis."""

from __future__ import annotations

from typing import Final

_T_975: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""0.975 quantiles of Student's t for 1 to 10 degrees of freedom."""

Z_975: Final = 1.959964
"""0.975 quantile of the normal distribution."""


def t_975(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t."""
    if freedom <= len(_T_975):
        return _T_975[max(freedom, 1) - 1]
    z = Z_975
    # Fisher's expansion, right to three digits
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
