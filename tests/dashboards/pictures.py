"""Draw the pictures of the documentation: `python tests/dashboards/pictures.py [--minutes 12] [--output docs/img]`.

A Prometheus is filled as for the tests, and left alone for some minutes, so that the exporter has a past of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.drawing import build  # noqa: E402  # found by the line above
from support.pictures import draw_all, faults  # noqa: E402
from support.stage import opened_stage  # noqa: E402


def main() -> int:
    """Draw all; 1 if a panel could not be drawn or has no data."""
    parser = argparse.ArgumentParser(description="Draw the dashboards into PNGs.", allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=12, help="how long the exporters run before (default: 12)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "img", help="the folder (default: docs/img)")
    arguments = parser.parse_args()
    build()
    with tempfile.TemporaryDirectory(prefix="anomaly-pictures-") as folder, opened_stage(Path(folder)) as stage:
        sys.stderr.write(f"Prometheus at {stage.url}; drawing in {arguments.minutes:g} minutes\n")
        time.sleep(60 * arguments.minutes)
        reports = draw_all(stage, arguments.output, Path(folder))
    found = [f"{uid}: {fault}" for uid, report in reports.items() for fault in faults(report)]
    sys.stderr.write("\n".join([*found, f"{len(reports)} pictures in {arguments.output}, {len(found)} faults\n"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
