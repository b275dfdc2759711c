"""The config as the program sees it: typed, frozen, complete with defaults. Secrets never show in a repr."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from exporter.config.secret import NO_SECRET, Secret
from exporter.models.settings import ModelSettings, RobustBandSettings, ShesdSettings, Signal
from exporter.relabelling.publishing import LabelLimits, Relabelling
from exporter.relabelling.rule import Rule

DAY_S = 86_400
MIB = 1 << 20

Direction = Literal["both", "above", "below"]
MetricNames = Literal["default", "vmanomaly"]
MetricsPage = Literal["results", "self"]
Publish = Literal["all", "score", "anomalous"]
ProtobufMessage = Literal["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]
TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

SENSITIVITIES = {"high": 0.85, "normal": 1.0, "low": 1.25}
DEFAULT_MODELS: tuple[ModelSettings, ...] = (RobustBandSettings(), ShesdSettings())
CONSENSUS = "consensus"  # in place of a model's name: alert on what all models of the query see


def no_params() -> Mapping[str, str]:
    """An empty, read-only mapping."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User and password; of each pair at most one is set. Files are read on use."""

    username: str = ""
    username_file: str = ""
    password: Secret = NO_SECRET
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """``Authorization: <type> <credentials>``; at most one of the two sources is set. ``bearer_token`` becomes this."""

    type: str = "Bearer"
    credentials: Secret = NO_SECRET
    credentials_file: str = ""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS of one connection. Inline texts are PEM; files are watched and read again when they change."""

    ca: str = field(default="", repr=False)
    ca_file: str = ""
    cert: str = field(default="", repr=False)
    cert_file: str = ""
    key: Secret = NO_SECRET
    key_file: str = ""
    server_name: str = ""
    min_version: TlsVersion | None = None
    max_version: TlsVersion | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """One HTTP header: all values, secrets and file contents are sent, comma-separated. Files are read on use."""

    name: str
    values: tuple[str, ...] = field(default=(), repr=False)
    secrets: tuple[Secret, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Which proxy to use: ``url`` except for the hosts of ``no_proxy``, or what the environment says, or none.

    ``url`` is a secret because it may hold a password. ``connect_headers`` go to the proxy only, on CONNECT.
    """

    url: Secret = NO_SECRET
    no_proxy: str = ""
    from_environment: bool = False
    connect_headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Client-credentials grant: where the token comes from."""

    client_id: str
    token_url: str = field(repr=False)  # its query may hold a secret
    client_secret: Secret = NO_SECRET
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ()
    endpoint_params: Mapping[str, str] = field(default_factory=no_params, repr=False, hash=False)
    tls: TlsConfig = TlsConfig()
    proxy: ProxyConfig = ProxyConfig()


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Prometheus' http_config. At most one of ``basic_auth, authorization, oauth2`` is set."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    tls: TlsConfig = TlsConfig()
    proxy: ProxyConfig = ProxyConfig()
    http_headers: tuple[Header, ...] = ()
    follow_redirects: bool = True
    enable_http2: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """The metrics server. ``url`` has no trailing slash, no credentials, no query."""

    url: str
    http: HttpConfig = HttpConfig()
    timeout_s: float = 30.0
    accept_gzip: bool = False
    max_in_flight: int = 4
    max_points_per_query: int = 2_000_000
    max_body_bytes: int = 512 * MIB
    remote_read: bool = False
    query_params: Mapping[str, str] = field(default_factory=no_params, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """The queue of one remote write target: at most ``capacity`` samples, which take at most ``max_bytes``."""

    capacity: int = 10_000_000
    max_bytes: int = 512 * MIB
    max_samples_per_send: int = 2000
    batch_send_deadline_s: float = 5.0
    min_backoff_s: float = 0.03
    max_backoff_s: float = 5.0
    retry_on_http_429: bool = True
    sample_age_limit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """A remote write target. ``name`` is its label; ``url`` has no credentials, but its query may hold a secret.

    ``tenant`` is the one that everything is written to, or (``per_tenant``) whose own results are written: in a config
    that has no tenant yet, and each tenant writes to itself. ``{tenant}`` in the URL stands for it.
    """

    name: str
    url: str = field(repr=False)
    timeout_s: float = 30.0
    headers: tuple[Header, ...] = ()
    http: HttpConfig = HttpConfig()
    message: ProtobufMessage = "prometheus.WriteRequest"
    queue: QueueConfig = QueueConfig()
    tenant: str = ""
    per_tenant: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query of one tenant may take; 0 is no limit. ``max_points`` counts series x columns of the window.

    ``query_timeout_s``: 0 is the source's timeout. The others are of the labels of one series: how many, and bytes.
    """

    max_series: int = 1_000_000
    max_points: int = 2_500_000_000  # 10 GB: the million series of a week at 5 minutes, and a quarter more
    query_timeout_s: float = 0.0
    # Beyond what anybody uses, and far from what harms a page or a receiver; /explain takes 128 labels.
    label_limit: int = 128
    label_name_length_limit: int = 1024
    label_value_length_limit: int = 4096

    def most_rows(self, columns: int) -> int | None:
        """Series that may have a window of so many columns; None where there is no limit."""
        allowed = [self.max_series] if self.max_series else []
        if self.max_points:
            allowed.append(self.max_points // columns)
        return min(allowed, default=None)

    @property
    def labels(self) -> LabelLimits:
        """Those of the labels of one series."""
        return LabelLimits(self.label_limit, self.label_name_length_limit, self.label_value_length_limit)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the server: header ``X-Scope-OrgID``, or ``{tenant}`` in the URL; ``a|b`` reads several at once.

    What is empty, None or 0 is the source's; ``http`` is complete where it is there. ``queries`` are its own, beside
    the shared ones or in place of them. ``limits`` are (field of Limits, value) for the shared queries; its own have
    them already. ``discovered``: it does not stand in the config.
    """

    id: str
    url: str = ""
    http: HttpConfig | None = None
    queries: tuple[Query, ...] = ()
    shared_queries: bool = True
    limits: tuple[tuple[str, float], ...] = ()
    interval_s: int = 0
    max_in_flight: int = 0
    discovered: bool = False


@dataclass(frozen=True, slots=True)
class DiscoveryQuery:
    """What names tenants on the source: a label of the series of ``expr``, or without one all values of the label.

    ``tenant`` is the one that is asked, empty for none.
    """

    label: str
    expr: str = ""
    tenant: str = ""


ReadTenants = Callable[[str, str], tuple[Tenant, ...]]


def read_no_tenants(_text: str, _file: str) -> tuple[Tenant, ...]:
    """What a discovery file holds, where nobody has said how to read it."""
    return ()


@dataclass(frozen=True, slots=True)
class TenantDiscovery:
    """Where more tenants come from. ``parse(text, file)`` reads a discovery file; raises ConfigError."""

    files: tuple[str, ...] = ()
    query: DiscoveryQuery | None = None
    refresh_s: int = 300
    max_tenants: int = 1000
    parse: ReadTenants = field(default=read_no_tenants, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """How the rules alert on a query; they are written from this, the exporter itself sends no alert.

    ``model`` is one of the query's, or ``consensus``. ``lookback_s``: an anomaly counts for so long after its last
    sample; longer than ``for_s``. ``direction`` is the query's own, or narrows it. ``group_by``: labels by which
    AnomalyShareHigh groups beside tenant and query; it needs ``min_series`` of a group, and ``min_share`` of it.
    """

    enabled: bool = True
    model: str = RobustBandSettings.name
    lookback_s: int = 900
    for_s: int = 0
    keep_firing_for_s: int = 0
    severity: str = "warning"
    direction: Direction = "both"
    min_share: float = 0.1
    min_series: int = 5
    share_severity: str = "critical"
    group_by: tuple[str, ...] = ()

    @property
    def storm_lookback_s(self) -> int:
        """The look-back of AnomalyShareHigh. It ends a minute later than the single alerts whose last anomalous sample
        is the same: rules are evaluated at different moments, and what it mutes must not be heard as it ends."""
        return self.lookback_s + 60


@dataclass(frozen=True, slots=True)
class Links:
    """Where people reach what the alerts link to: URLs without a trailing slash, empty where not known."""

    exporter: str = ""
    grafana: str = ""
    runbooks: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What to watch and how to judge it. ``interval_s, step_s, window_s`` are effective: own or global.

    ``sensitivity`` multiplies the models' threshold (0.85 high, 1 normal, 1.25 low).
    """

    name: str
    expr: str
    models: tuple[ModelSettings, ...] = DEFAULT_MODELS
    sensitivity: float = 1.0
    signals: tuple[Signal, ...] = ()
    direction: Direction = "both"
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    data_range: tuple[float, float] = (-math.inf, math.inf)
    min_history_s: int = 0
    absent_for_s: int = DAY_S
    interval_s: int = 60
    step_s: int = 300
    window_s: int = 14 * DAY_S
    limits: Limits = Limits()
    publish: Publish = "all"
    detectability: bool = False
    relabel_configs: tuple[Rule, ...] = ()  # those of the file first
    drop_labels: tuple[str, ...] = ()
    # Not compared: another alert leaves the windows and verdicts of the query as they are (a reload keeps them).
    alert: Alert = field(default=Alert(), compare=False)

    @property
    def most_series(self) -> int | None:
        """Series that may be watched, those that have gone missing included; None where there is no limit."""
        return self.limits.most_rows(self.window_s // self.step_s)

    def relabelling(self) -> Relabelling:
        """What becomes of the labels of its series; compiled here, so keep it."""
        return Relabelling(self.relabel_configs, self.drop_labels, self.limits.labels)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole config file. ``metrics_page: self`` keeps the results off /metrics; then there is a remote write."""

    source: Source
    queries: tuple[Query, ...]
    interval_s: int = 60
    window_s: int = 14 * DAY_S
    step_s: int = 300
    tenants: tuple[Tenant, ...] = ()
    tenant_discovery: TenantDiscovery | None = None
    metric_names: MetricNames = "default"
    metrics_page: MetricsPage = "results"
    remote_write: tuple[RemoteWrite, ...] = ()
    external_labels: tuple[tuple[str, str], ...] = ()  # of what leaves by remote write
    limits: Limits = Limits()
    publish: Publish = "all"
    detectability: bool = False
    alert: Alert = Alert()  # what a query has that says nothing, but for its model and direction
    links: Links = Links()
