"""The config loader: whatever stands in the file, a Config that can be shown, or a ConfigError that tells where."""

from __future__ import annotations

from fuzz.choices import Choices

from exporter.config import mask, parse
from exporter.errors import ConfigError

SECRET = "hunter2"
GOOD = """\
global: {interval: 1m, step: 5m, window: 7d}
source:
  url: http://user.example.org:9090/x
  params: {a: "b"}
  basic_auth: {username: a, password: "${PW}"}
  tls_config: {ca_file: x, min_version: TLS12}
  proxy_url: http://p:1
  http_headers: {X-A: {values: [a], secrets: [b]}}
tenants: [{id: a}, {id: "b-c"}]
limits: {max_series: 5000, max_points: 2000000}
queries:
  - &q
    name: one
    expr: sum(rate(x{a="b"}[5m]))
    models: [robust_band, {name: shesd, alpha: 0.1}]
    sensitivity: high
    data_range: [0, .inf]
    min_history: 1d
    signals: [shift]
    alert: {for: 5m, severity: page}
  - {<<: *q, name: two, interval: 30s}
metric_names: default
metrics_page: self
remote_write:
  - {url: http://h/w, name: x, headers: {X-B: c}, bearer_token: "${PW}", queue_config: {capacity: 5, max_backoff: 1s}}
"""
BITS = (
    *("", " ", "\n", "\t", "- ", ": ", "{", "}", "[", "]", "'", '"', "&a ", "*a", "*q", "<<: ", "!!int ", "!x ", "|\n"),
    *(">\n", "? ", "#", "%", "@", "`", "~", "null", "yes", "0", "-1", ".nan", ".inf", "1e999", "9" * 40, "2024-01-01"),
    *("=", "\x00", "${PW}", "${", "$$", "${NO}", "---\n", "...\n", "\ufeff", "é", "٣", "\U0001f600", "http://", "[::1"),
    *(":99999", "true", "5m", "7d", "-5m", "1e3", "tenants", "relabel_configs", "external_labels", "drop_labels"),
    "regex",
)
SIGNS = "ab:-[]{}&*!|>'\"%@`#?,~ \n\t.0$<"  # of YAML, and a little to stand between them


def check(data: bytes) -> None:
    """One input: a good config with edits, or with lines in another order, or any text."""
    choices = Choices(data)
    kind = choices.below(8)
    if kind == 0:
        return settle(choices.rest().decode("utf-8", "replace"))
    if kind == 1:
        return settle(choices.word(SIGNS, 60))
    lines = GOOD.splitlines(keepends=True)
    if kind == 2:
        for _ in range(choices.below(4)):
            lines.insert(choices.below(len(lines)), lines.pop(choices.below(len(lines))))
    text = "".join(lines)
    for _ in range(choices.below(5)):
        at, cut = choices.below(len(text) + 1), choices.below(24)
        text = text[:at] + (choices.text(3) if choices.rarely() else choices.pick(BITS)) + text[at + cut :]
    return settle(text)


def settle(text: str) -> None:
    """Parse; the config must be showable, the error must say where and never what a variable holds."""
    try:
        config = parse(text, "f.yml", {"PW": SECRET})
    except ConfigError as error:
        return _refused(error)
    # A config shows what a variable holds where the key is no secret: only the unedited one can promise more.
    assert mask(config)
    return None


def _refused(error: ConfigError) -> None:
    """Every problem on a line of its own that says where it is, in file order, without what variables hold."""
    assert error.problems
    assert all(problem.line >= 1 for problem in error.problems)
    assert list(error.problems) == sorted(error.problems, key=lambda problem: problem.line)
    told = str(error).split("\n")
    assert len(told) == len(error.problems)
    assert all(line.startswith("f.yml:") for line in told)
    assert SECRET not in str(error)
