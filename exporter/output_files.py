"""Files that a command writes where `--output` says."""

from __future__ import annotations

from pathlib import Path

from exporter.errors import AnomalyExporterError


def write_output(path: Path, content: str) -> None:
    """Write a text, in a folder that is made where it is missing. Raises AnomalyExporterError where that can't be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    except OSError as error:
        reason = (error.strerror or "unwritable").lower()
        raise AnomalyExporterError(f"can't write {path}: {reason}; name a folder with --output") from error
