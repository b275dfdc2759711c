"""Every error this program raises on purpose.

AnomalyExporterError
├── ConfigError             the config file can't be used; carries every problem found
├── SourceError             the metrics server did not give what was asked
│   ├── SourceUnavailable   ask again later: refused, reset, timed out, 429, 5xx
│   ├── SourceRefused       final for this query: 400 401 403 404 415 422 and other 4xx
│   │   └── SourceTooMuch   a refusal that asks for less: points, samples, series, chunks, range
│   └── SourceGarbled       a 200 whose body is not what the API promises
├── PublishError            the result page can't be served (address in use, no permission)
└── DemoError               the demo can't run here; the message says what to do
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


class AnomalyExporterError(Exception):
    """Base of all errors raised on purpose; its text is meant for the operator."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config file.

    ``path`` is the key path as the user reads it (``queries[2].direction``), ``line`` counts from 1 (0: unknown),
    ``value`` is the offending text (already masked when secret), ``allowed`` says what would be right.
    """

    line: int
    path: str
    message: str
    value: str = ""
    allowed: str = ""

    def render(self, file: str) -> str:
        """``file:line: path: message, got `value`; allowed: ...`` on one line."""
        where = f"{file}:{self.line}" if self.line else file
        text = f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"
        if self.value:
            text += f", got `{self.value}`"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        return text


class ConfigError(AnomalyExporterError):
    """The config can't be used; ``problems`` holds all of them, in file order."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("\n".join(problem.render(file) for problem in problems))


class SourceError(AnomalyExporterError):
    """The metrics server did not give what was asked. ``reason`` is a short, bounded word for metrics."""

    def __init__(self, message: str, *, reason: str, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


class SourceUnavailable(SourceError):
    """The server can't answer now; asking again later is right."""


class SourceRefused(SourceError):
    """The server will not answer this query; asking again in the same words is useless."""


class SourceTooMuch(SourceRefused):
    """The query asks for more points, samples, series, chunks or range than the server allows."""


class SourceGarbled(SourceError):
    """The server said 200, but the body is not what the API promises."""


class PublishError(AnomalyExporterError):
    """The result page can't be served."""


class DemoError(AnomalyExporterError):
    """The demo can't run on this machine."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it wraps, the libraries' outermost first."""
    queue, seen = [error], set[int]()
    while queue:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = [getattr(link, "reason", None), link.__cause__, link.__context__, *link.args]
        queue += [each for each in inner if isinstance(each, BaseException)]
