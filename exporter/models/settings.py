"""Unfitted models: small settings values, chosen in the config; a fit is made from one and thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Seasonal = Literal["median", "stl"]
Signal = Literal["shift", "stale"]  # slow signals beside the models' scores; they have nothing to set


@dataclass(frozen=True, slots=True)
class RobustBandSettings:
    """The default model; it has nothing to set (``sensitivity`` is policy of the query)."""

    name: ClassVar[str] = "robust_band"


@dataclass(frozen=True, slots=True)
class ShesdSettings:
    """Seasonal Hybrid ESD: test level, largest share of the window that may be outliers, how the season is removed."""

    name: ClassVar[str] = "shesd"

    alpha: float = 0.05
    max_anoms: float = 0.02
    seasonal: Seasonal = "median"


ModelSettings = RobustBandSettings | ShesdSettings
