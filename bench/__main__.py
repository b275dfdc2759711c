"""All quick benchmarks, one after the other: ``python -m bench``. The long one is ``python -m bench.cycle``."""

from __future__ import annotations

import runpy

for name in ("speed_scan", "speed_robust_band", "speed_shesd", "speed_render"):
    print(f"\n{name}")
    runpy.run_module(f"bench.{name}", run_name="__main__")
