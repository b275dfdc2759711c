"""``python -m bench`` is ``python -m bench.speed``; detection quality is ``python -m bench.quality``."""

from __future__ import annotations

import sys

from bench.speed.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
