"""The command line: flags as the exporters of this field have them, one function per subcommand."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from exporter import __version__
from exporter.errors import AnomalyExporterError, ConfigError
from exporter.heap import bound_heap
from exporter.logs import FORMATS, LEVELS, set_up

DEFAULT_ADDRESS = ":9899"
DEFAULT_FILE = "anomaly-exporter.yml"

_FAILED = 1
_LONGEST_BACKFILL_S = 365 * 86_400
_LONGEST_READ_S = 3600
_MOST_CONNECTIONS = 100_000
log = logging.getLogger("exporter")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words or ["--help"])
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        status = command(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # what can't be written must be noticed here, not at the exit
        return status
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.problems)} problem(s); nothing was started", file=sys.stderr)
        return _FAILED
    except AnomalyExporterError as error:
        print(f"anomaly-exporter: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever reads has enough, as in `explain ... | head`
        _write_nowhere()
        return 128 + signal.SIGPIPE
    except OSError as error:
        _write_nowhere()
        where = f"{error.filename}: " if error.filename else ""
        print(f"anomaly-exporter: can't write: {where}{error.strerror or error}", file=sys.stderr)
        return _FAILED


def _write_nowhere() -> None:
    """Standard output can't be written to: the flush at the exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anomaly-exporter",
        description="Anomaly scores and bands for every series of a Prometheus-compatible server.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"anomaly-exporter {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_plan(commands)
    _add_backtest(commands)
    _add_explain(commands)
    _add_rules(commands)
    _add_dashboards(commands)
    _add_demo(commands)
    compile_ = commands.add_parser("compile", help="compile all kernels now (for images with a read-only file system)")
    compile_.set_defaults(command=_compile)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="watch, judge and publish", allow_abbrev=False)
    _add_config(run)
    run.add_argument("--web.listen-address", dest="address", default=DEFAULT_ADDRESS, metavar="ADDRESS",
                     help="where to serve /metrics (default: %(default)s)")  # fmt: skip
    run.add_argument("--web.enable-lifecycle", dest="lifecycle", action="store_true", help="allow POST /-/reload")
    _add_web_config(run)
    run.add_argument("--web.max-connections", dest="max_connections", type=_connections, default=512, metavar="N",
                     help="connections that may be open at once (default: %(default)s)")  # fmt: skip
    run.add_argument("--web.read-timeout", dest="read_timeout_s", type=_read_timeout_s, default="2m",
                     metavar="DURATION", help="how long a request may take to arrive, and a connection may be idle"
                     " (default: %(default)s)")  # fmt: skip
    run.add_argument("--web.enable-explain", dest="explain", action=argparse.BooleanOptionalAction, default=True,
                     help="serve explanations of verdicts at /explain")  # fmt: skip
    run.add_argument("--backfill", type=_duration_s, default=0, metavar="DURATION",
                     help="at the start, write the results of the past, such as 7d, by remote write")  # fmt: skip
    run.add_argument("--log.level", dest="log_level", choices=LEVELS, default="info")
    run.add_argument("--log.format", dest="log_format", choices=FORMATS, default="logfmt")
    run.set_defaults(command=_run)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "check", help="validate the config, reach the source, say what would be watched", allow_abbrev=False
    )
    _add_config(check)
    _add_web_config(check)
    check.add_argument("--syntax-only", action="store_true", help="do not contact the source")
    check.set_defaults(command=_check)


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser(
        "plan", help="say what watching would cost; fails when a query is over its limits", allow_abbrev=False
    )
    _add_config(plan)
    plan.add_argument("--json", dest="json_file", default="", metavar="FILE", help="write it as JSON, too")
    plan.set_defaults(command=_plan)


def _add_backtest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    backtest = commands.add_parser(
        "backtest", help="say what the alerts would have been, over a server's history or a file", allow_abbrev=False
    )
    _add_config(backtest)
    add = backtest.add_argument
    add("--query", dest="queries", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    add("--tenant", default="", metavar="ID", help="only this tenant")
    add("--from", dest="start", default="", metavar="T", help="RFC 3339, unix seconds or a duration ago (default: 14d)")
    add("--to", dest="end", default="", metavar="T", help="the same (default: now)")
    add("--input", default="", metavar="FILE", help="samples from .csv, .parquet or OpenMetrics, not from the server")
    add("--incidents", default="", metavar="FILE", help="what really happened: CSV, or ALERTS history as CSV or JSON")
    add("--incidents-from-alerts", default="", metavar="SELECTOR", help="the same from the server's ALERTS{...}")
    add("--budget", default="", metavar="PAGES", help="propose a sensitivity for it, such as 2/week or 0.1/week/series")
    add("--json", dest="json_file", default="", metavar="FILE", help="write the report as JSON, too")
    add("--html", dest="html_file", default="", metavar="FILE", help="write the report as one HTML page, too")
    add("--write", action="append", default=[], metavar="WHERE",
        help="write bands and scores: openmetrics:FILE or remote (by remote_write); may be repeated")  # fmt: skip
    add(
        "--coarse", action="store_true", help="judge once a step and not every interval: less to read, but less is seen"
    )
    backtest.set_defaults(command=_backtest)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain", help="say why a series got its verdict, and what would have been needed", allow_abbrev=False
    )
    _add_config(explain)
    explain.add_argument("--query", required=True, metavar="NAME", help="the query of the series")
    explain.add_argument("--series", required=True, metavar="SELECTOR",
                         help="the labels of the series, such as '{job=\"api\",instance=\"a:80\"}'")  # fmt: skip
    explain.add_argument("--tenant", default="", metavar="ID", help="the tenant, where there are several")
    explain.add_argument("--model", default="", metavar="NAME", help="the model (default: the one that alerts)")
    explain.add_argument("--at", default="", metavar="TIME",
                         help="when: RFC 3339, unix seconds, or how long ago, such as 2h (default: now)")  # fmt: skip
    explain.add_argument("--exporter", default="", metavar="URL",
                         help="a running exporter, to compare its config with this one")  # fmt: skip
    explain.add_argument("--json", dest="as_json", action="store_true", help="everything as JSON (docs/explain.md)")
    explain.set_defaults(command=_explain)


def _add_rules(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rules = commands.add_parser("rules", help="write recording and alert rules from the config", allow_abbrev=False)
    rules.add_argument("--config.file", dest="config_file", metavar="FILE",
                       help="the config (default: none, the rules for every query as it is by default)")  # fmt: skip
    rules.add_argument("--format", choices=("prometheus", "prometheusrule", "mixin"), default="prometheus",
                       help="rule files, a Kubernetes manifest, or a jsonnet mixin (default: %(default)s)")  # fmt: skip
    rules.add_argument("--output", default="-", metavar="DIR", help="the folder to write to (default: -, print them)")
    rules.set_defaults(command=_rules)


def _add_dashboards(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    dashboards = commands.add_parser("dashboards", help="write Grafana's dashboards as JSON files", allow_abbrev=False)
    dashboards.add_argument("--output", default="grafana", metavar="DIR",
                            help="the folder to write to (default: %(default)s)")  # fmt: skip
    dashboards.add_argument("--datasource", default="", metavar="NAME",
                            help="the data source chosen at first, by name or uid (default: of Grafana)")  # fmt: skip
    dashboards.add_argument("--exporter", default="", metavar="URL",
                            help="where people reach the exporter (default: where Prometheus scrapes it)")  # fmt: skip
    dashboards.set_defaults(command=_dashboards)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser("demo", help="show it all on a real Prometheus with made-up series", allow_abbrev=False)
    demo.add_argument("--once", action="store_true", help="stop after the table instead of waiting for Ctrl-C")
    demo.add_argument("--prometheus", metavar="FILE", help="the prometheus binary (default: from PATH)")
    demo.add_argument("--alertmanager", metavar="FILE", help="the alertmanager binary (default: from PATH)")
    demo.set_defaults(command=_demo)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config.file", dest="config_file", default=DEFAULT_FILE, metavar="FILE",
                        help="the config (default: %(default)s)")  # fmt: skip


def _add_web_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--web.config.file", dest="web_config_file", default="", metavar="FILE",
                        help="TLS, users and headers of the web server (default: none)")  # fmt: skip


def _connections(text: str) -> int:
    """A number of connections."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _MOST_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {_MOST_CONNECTIONS}")
    return int(text)


def _read_timeout_s(text: str) -> float:
    """A duration of the command line from a second to an hour."""
    from exporter.config.durations import parse_duration_ms

    duration_ms = parse_duration_ms(text)
    if duration_ms is None or not 1000 <= duration_ms <= _LONGEST_READ_S * 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a duration from 1s to 1h, such as 30s or 5m")
    return duration_ms / 1000


def _duration_s(text: str) -> int:
    """A duration of the command line in whole seconds, up to a year."""
    from exporter.config.durations import parse_duration_ms

    duration_ms = parse_duration_ms(text)
    if duration_ms is None or duration_ms % 1000 or not 0 < duration_ms <= _LONGEST_BACKFILL_S * 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a duration from 1s to 1y, such as 7d or 36h")
    return duration_ms // 1000


# Each command imports what it needs itself: `--version` and `check --syntax-only` should not wait for numba.


def _run(arguments: argparse.Namespace) -> int:
    bound_heap()
    set_up(arguments.log_level, arguments.log_format, spooled=True)
    from exporter.app import App
    from exporter.compilation import prepare
    from exporter.publish.web.limits import WebLimits, WebOptions

    limits = WebLimits(max_connections=arguments.max_connections, read_timeout_s=arguments.read_timeout_s)
    app = App(arguments.config_file, backfill_s=arguments.backfill)
    app.catch_signals()
    web = WebOptions(arguments.web_config_file, limits, explain=arguments.explain)
    app.start(arguments.address, lifecycle=arguments.lifecycle, prepare=prepare, web=web)
    app.run_until_signal()
    log.info("stopping")
    ended = app.stop()
    log.info("stopped" if ended else "stopped; a cycle was abandoned")
    _leave()


def _leave() -> NoReturn:
    """End the process at once.

    Who still waits for a server (a cycle, an explanation, a backfill) can't be ended from outside, and Python would
    join the threads of its pools before it goes, however long that takes. They hold no file and no lock.
    """
    atexit._run_exitfuncs()  # the last lines of the log are written, and kernels that nobody else may use are removed
    os._exit(0)


def _check(arguments: argparse.Namespace) -> int:
    set_up("warn", "logfmt")
    failed = 0 if _check_web(arguments.web_config_file) else _FAILED
    if arguments.syntax_only:
        from exporter.config import load
        from exporter.config.per_tenant import query_names

        config = load(arguments.config_file)
        print(
            f"{arguments.config_file}: {len(query_names(config))} queries, no problems (the source was not contacted)"
        )
        return failed
    from exporter.capacity.check import check

    return check(arguments.config_file, print) or failed


def _check_web(file: str) -> bool:
    """Whether there is no web config, or one that can be used with the files that it names; says so, and why not."""
    if not file:
        return True
    from exporter.publish.web.protection import read_protection

    try:
        protection = read_protection(file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.problems)} problem(s) in the web config", file=sys.stderr)
        return False
    words = "HTTPS" if protection.context else "plain HTTP"
    users = f"{len(protection.passwords)} users" if protection.passwords else "no users, so anybody may read"
    print(f"{file}: web config is valid: {words}, {users}")
    return True


def _plan(arguments: argparse.Namespace) -> int:
    set_up("warn", "logfmt")
    from exporter.capacity.plan import plan

    return plan(arguments.config_file, print, arguments.json_file)


def _backtest(arguments: argparse.Namespace) -> int:
    set_up("warn", "logfmt")
    import threading

    from exporter.backtest.asking import Options
    from exporter.backtest.command import backtest
    from exporter.compilation import prepare

    options = Options(
        arguments.config_file, tuple(arguments.queries), arguments.tenant, arguments.start, arguments.end,
        arguments.input, arguments.incidents, arguments.incidents_from_alerts, arguments.budget,
        arguments.json_file, arguments.html_file, tuple(arguments.write), arguments.coarse,
    )  # fmt: skip
    return backtest(options, print, lambda: prepare(threading.Event()))


def _explain(arguments: argparse.Namespace) -> int:
    set_up("warn", "logfmt")
    from exporter.explain.command import explain
    from exporter.explain.question import Question

    question = Question(arguments.query, arguments.series, arguments.tenant, arguments.model, arguments.at)
    return explain(arguments.config_file, question, print, as_json=arguments.as_json, exporter_url=arguments.exporter)


def _rules(arguments: argparse.Namespace) -> int:
    from exporter.rules.writing import write_rules

    return write_rules(
        arguments.config_file, arguments.format, arguments.output, print, lambda hint: print(hint, file=sys.stderr)
    )


def _dashboards(arguments: argparse.Namespace) -> int:
    from exporter.dashboards.writing import write_dashboards

    return write_dashboards(arguments.output, arguments.datasource, arguments.exporter, print)


def _demo(arguments: argparse.Namespace) -> int:
    from exporter import demo

    options = demo.DemoOptions(
        keep_running=not arguments.once,
        prometheus_binary=arguments.prometheus,
        alertmanager_binary=arguments.alertmanager,
    )
    return demo.run(options)


def _compile(_arguments: argparse.Namespace) -> int:
    set_up("info", "logfmt")
    from exporter.compilation import compile_kernels

    compile_kernels()
    print(f"kernels compiled into {os.environ['NUMBA_CACHE_DIR']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
