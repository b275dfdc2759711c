"""What clients may take of the server."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_HEAD_BYTES = 16_384
MOST_BODY_BYTES = 65_536
DEFAULT_CONNECTIONS = 512  # as Prometheus has it
DEFAULT_READ_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Connections open at once; how long a request may take to arrive, and a connection may be idle; how long an answer
    may take to be fetched, and how long when others want its connection; how long the answers under way may go on when
    the server stops."""

    max_connections: int = DEFAULT_CONNECTIONS
    read_timeout_s: float = DEFAULT_READ_TIMEOUT_S
    send_timeout_s: float = 60.0
    send_patience_s: float = 15.0
    stop_patience_s: float = 1.0


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How the server is set up by flags: the web config file (empty: none), limits, whether explanations are served."""

    config_file: str = ""
    limits: WebLimits = field(default_factory=WebLimits)
    explain: bool = True
