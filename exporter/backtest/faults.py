"""What can go wrong with a backtest, and what to do about it; and the packages that only some backtests need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from exporter.errors import AnomalyExporterError


class BacktestError(AnomalyExporterError):
    """The backtest can't be done as asked; the message says what to do next."""


def optional(module: str, *, what: str, extra: str) -> ModuleType:
    """A module of a package that is not always installed. Raises BacktestError with the command that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BacktestError(
            f"{what} needs the package {package}, which is not installed: pip install 'anomaly-exporter[{extra}]'"
        ) from error
