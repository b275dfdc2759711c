"""What the web config asks for, ready for use, and anew whenever the file or a certificate changes."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.config.key_files import file_stamp
from exporter.config.web import WebConfig, load_web
from exporter.errors import ConfigError, Problem
from exporter.publish.web.metrics import WebMetrics
from exporter.publish.web.passwords import Passwords
from exporter.publish.web.rate import TokenBucket
from exporter.publish.web.tls import make_context

log = logging.getLogger(__name__)

Stamps = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Protection:
    """Of one reading of the web config: TLS context or None for plain HTTP, names that client certificates must carry,
    headers of every answer, users, rate. The default one protects nothing."""

    context: ssl.SSLContext | None = None
    allowed_sans: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    passwords: Passwords = field(default_factory=lambda: Passwords({}))
    rate: TokenBucket | None = None


def make_protection(file: str, config: WebConfig) -> Protection:
    """Raises ConfigError when a file that the web config names can't be used."""
    tls, rate = config.tls, config.rate_limit
    return Protection(
        context=make_context(file, tls) if tls else None,
        allowed_sans=tls.allowed_sans if tls else (),
        headers=config.headers,
        passwords=Passwords(config.users),
        rate=TokenBucket(rate.interval_s, rate.burst) if rate else None,
    )


def read_protection(file: str, environ: Mapping[str, str] = os.environ) -> Protection:
    """The protection by a web config file as it is now. Raises ConfigError, also for the files that it names."""
    return make_protection(file, load_web(file, environ))


class Watched:
    """The protection by a web config file, read again when it or a file that it names changes. For one thread."""

    def __init__(self, file: str, metrics: WebMetrics, environ: Mapping[str, str] = os.environ) -> None:
        """Raises ConfigError when the file, or one that it names, can't be used. An empty name protects nothing."""
        self._file = file
        self._environ = environ
        self._metrics = metrics
        self._config = WebConfig()
        self._current = Protection()
        self._named: tuple[str, ...] = ()
        self._stamps: Stamps = ()
        if file:
            self._read(started=True)

    def current(self) -> Protection:
        """The protection in force now. When the new files can't be used it is the last good one."""
        if self._file and self._look() != self._stamps:
            try:
                self._read(started=False)
            except ConfigError as error:
                self._metrics.reloaded(ok=False)
                log.error(f"web config not reloaded, the last good one stays in force: {error}")
            except Exception:  # a mistake of ours must not close the door to everybody
                self._metrics.reloaded(ok=False)
                log.exception("internal error in the web config, please report it")
            else:
                log.info("web config reloaded", extra={"file": self._file})
        return self._current

    def _look(self) -> Stamps:
        return tuple(file_stamp(path) for path in (self._file, *self._named))

    def _read(self, *, started: bool) -> None:
        """Read it all. Stamps are taken before what they stand for, so that a change in between is seen next time."""
        self._stamps = self._look()
        config = load_web(self._file, self._environ)
        if config.tls:
            self._named = config.tls.files
            self._stamps = self._stamps[:1] + self._look()[1:]
        if not started:
            self._refuse_less(config)
        self._current = self._made(config)
        self._config = config
        self._metrics.reloaded(ok=True)

    def _made(self, config: WebConfig) -> Protection:
        """What was found out about passwords, and the tokens that are left, stay where these have not changed."""
        made, old = make_protection(self._file, config), self._current
        return Protection(
            made.context, made.allowed_sans, made.headers,
            old.passwords if config.users == self._config.users else made.passwords,
            old.rate if config.rate_limit == self._config.rate_limit else made.rate,
        )  # fmt: skip

    def _refuse_less(self, config: WebConfig) -> None:
        """Protection is never taken away while the server runs: half a file is more likely than a wish."""
        told, restart = "can't be switched while it runs", "a restart"
        problems = []
        if (config.tls is None) != (self._config.tls is None):
            problems.append(Problem(0, "tls_server_config", told, allowed=restart))
        if self._config.users and not config.users:
            problems.append(Problem(0, "basic_auth_users", "can't be taken away while it runs", allowed=restart))
        if problems:
            raise ConfigError(self._file, tuple(problems))
