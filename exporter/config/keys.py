"""Every key of the config file, once: the reader accepts exactly these, and docs/configuration.md lists them."""

from __future__ import annotations

from dataclasses import dataclass

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one block: the type and default as the reference prints them, and what it means.

    The value of a ``secret`` key is never shown. ``default`` is YAML, ``required``, or empty (not set).
    """

    name: str
    type: str
    default: str
    meaning: str
    example: str
    secret: bool = False


PROXY_KEYS = (
    Key("proxy_url", "URL", "", "HTTP or HTTPS proxy to go through; may hold user and password.",
        "http://proxy:3128"),
    Key("no_proxy", "text", "", "Hosts, domains, IP addresses and CIDR ranges (comma-separated, port allowed) reached"
        " without the proxy. Needs `proxy_url`.", "10.0.0.0/8,.internal"),
    Key("proxy_from_environment", "boolean", "false", "Take the proxy from `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`."
        " Excludes `proxy_url` and `no_proxy`.", "true"),
    Key("proxy_connect_header", "mapping of lists", "{}", "Headers sent to the proxy, and only to it, when a tunnel is"
        " opened (CONNECT). Values are secret.", "{X-Proxy-Token: [s3cret]}", secret=True),
)  # fmt: skip

HTTP_KEYS = (
    Key("basic_auth", "block", "", "User and password. At most one of `basic_auth`, `authorization`, `oauth2`,"
        " `bearer_token`, `bearer_token_file`.", "{username: ae, password_file: pw.txt}"),
    Key("authorization", "block", "", "An `Authorization` header of any type but Basic.",
        "{credentials_file: token.txt}"),
    Key("bearer_token", "secret", "", "Short for `authorization: {credentials: ...}`.", "${TOKEN}", secret=True),
    Key("bearer_token_file", "path", "", "Short for `authorization: {credentials_file: ...}`.",
        "/run/secrets/token"),
    Key("oauth2", "block", "", "OAuth 2.0 client credentials; the token is cached until shortly before it expires.",
        "{client_id: ae, client_secret_file: s.txt, token_url: 'https://sso/token'}"),
    Key("tls_config", "block", "{}", "TLS of the connection.", "{ca_file: ca.pem}"),
    *PROXY_KEYS,
    Key("follow_redirects", "boolean", "true", "Follow HTTP redirects. Credentials and `http_headers` never go to"
        " another host.", "false"),
    Key("enable_http2", "boolean", "true", "Accepted for compatibility; connections speak HTTP/1.1.", "false"),
    Key("http_headers", "mapping of blocks", "{}", "More headers, by name. Not allowed: headers that the client sets"
        " itself.", "{X-Api-Key: {secrets: ['${KEY}']}}"),
)  # fmt: skip

BLOCKS: dict[str, tuple[Key, ...]] = {
    "": (
        Key("global", "block", "{}", "Times that hold for every query.", "{interval: 1m}"),
        Key("source", "block", REQUIRED, "The metrics server.", "{url: 'http://prometheus:9090'}"),
        Key("tenants", "list of blocks", "[]", "Mimir or Cortex tenants; every query runs once per tenant.",
            "[{id: team-a}]"),
        Key("tenant_discovery", "block", "", "More tenants, from files or from a query.",
            "{files: [tenants.yml]}"),
        Key("queries", "list of blocks", REQUIRED, "What to watch; at least one.",
            "[{name: load, expr: node_load1}]"),
        Key("metric_names", "text", "default", "`default`, or `vmanomaly` to publish under vmanomaly's metric and label"
            " names.", "vmanomaly"),
        Key("metrics_page", "text", "results", "`results`, or `self`: `/metrics` shows the exporter's own metrics only,"
            " and the results go by `remote_write`.", "self"),
        Key("remote_write", "list of blocks", "[]", "Targets that all results are written to: Prometheus'"
            " `remote_write` blocks.", "[{url: 'http://mimir:8080/api/v1/push'}]"),
        Key("limits", "block", "{}", "What one query of one tenant may take; a query can have its own.",
            "{max_series: 100000}"),
        Key("relabel_configs", "list of blocks", "[]", "Prometheus' rules on the labels of the results, for every"
            " query; a query can have more.", "[{action: labeldrop, regex: 'pod|uid'}]"),
        Key("publish", "text", "all", "`all`, `score` (no bands and values) or `anomalous` (bands and values only where"
            " the score is above 1 or was lately); a query can have its own.", "anomalous"),
        Key("detectability", "boolean", "false", "Publish `anomaly_min_detectable_ratio`: the smallest change of each"
            " series that would score above 1; a query can have its own.", "true"),
        Key("alert", "block", "{}", "How the rules alert that `anomaly-exporter rules` writes; a query can have its"
            " own.", "{severity: info}"),
        Key("links", "block", "{}", "Where people reach what the alerts link to.",
            "{grafana: 'https://grafana.example.org'}"),
    ),
    "global": (
        Key("interval", "duration", "1m", "How often the newest sample of every series is judged. At least 1s, at most"
            " `step`, divides `step`.", "1m"),
        Key("step", "duration", "5m", "Grid of the window: one sample per series and step. 1s to 1h, divides a day.",
            "5m"),
        Key("window", "duration", "14d", "History the models are fitted on. A multiple of `step`, 2d to 1y, at most"
            " 100000 steps.", "14d"),
        Key("external_labels", "mapping of texts", "{}", "Labels of everything that leaves by `remote_write`, where a"
            " series has none of that name. Not on `/metrics`.", "{cluster: eu1, replica: a}"),
    ),
    "source": (
        Key("url", "URL", REQUIRED, "Where the query API is, without `/api/v1`. Mimir and Cortex: with their prefix, as"
            " in the example.", "http://mimir:8080/prometheus"),
        Key("timeout", "duration", "30s", "Longest wait for an answer; 100ms to 1h.", "1m"),
        Key("accept_gzip", "boolean", "false", "Ask for compressed answers. Costs the server several times the query"
            " itself; useful over slow links.", "true"),
        Key("max_in_flight", "integer", "4", "Queries under way at once; 1 to 64.", "2"),
        Key("max_points", "integer", "2000000", "Points one query may return; longer reads are split by time."
            " 1000 to 100000000.", "1000000"),
        Key("max_body_bytes", "size", "512MiB", "Largest answer that is read, after decompression. 64KiB to 16GiB.",
            "1GiB"),
        Key("remote_read", "boolean", "false", "Read the window of plain selectors by Prometheus' streamed remote read"
            " (`/api/v1/read`) where the server offers it; see below.", "true"),
        Key("params", "mapping of texts", "{}", "URL parameters added to every query.", '{nocache: "1"}'),
        *HTTP_KEYS,
    ),
    "basic_auth": (
        Key("username", "text", "", "The user; no colon.", "ae"),
        Key("username_file", "path", "", "File that holds the user. Excludes `username`.", "/run/secrets/user"),
        Key("password", "secret", "", "The password.", "${PASSWORD}", secret=True),
        Key("password_file", "path", "", "File that holds the password. Excludes `password`.", "/run/secrets/pw"),
    ),
    "authorization": (
        Key("type", "text", "Bearer", "The word before the credentials; not `Basic`.", "Bearer"),
        Key("credentials", "secret", "", "The credentials.", "${TOKEN}", secret=True),
        Key("credentials_file", "path", "", "File that holds the credentials, read again on every use. Excludes"
            " `credentials`.", "/run/secrets/token"),
    ),
    "oauth2": (
        Key("client_id", "text", REQUIRED, "The client.", "anomaly-exporter"),
        Key("client_secret", "secret", "", "Its secret.", "${CLIENT_SECRET}", secret=True),
        Key("client_secret_file", "path", "", "File that holds its secret. Excludes `client_secret`.",
            "/run/secrets/client"),
        Key("token_url", "URL", REQUIRED, "Where tokens are issued.", "https://sso.example.org/token"),
        Key("scopes", "list of texts", "[]", "Scopes to ask for.", "[metrics.read]"),
        Key("endpoint_params", "mapping of texts", "{}", "Further parameters of the token request. Values are treated"
            " as secret.", "{audience: prometheus}", secret=True),
        Key("tls_config", "block", "{}", "TLS of the connection to the token server.", "{ca_file: sso-ca.pem}"),
        *PROXY_KEYS,
    ),
    "tls_config": (
        Key("ca", "PEM text", "", "Certificates of the CAs to trust. Without `ca` and `ca_file`: those of the system.",
            "|"),
        Key("ca_file", "path", "", "File with those certificates. Excludes `ca`.", "/etc/ssl/our-ca.pem"),
        Key("cert", "PEM text", "", "Client certificate (and chain). Needs a key.", "|"),
        Key("cert_file", "path", "", "File with it. Excludes `cert`.", "client.pem"),
        Key("key", "secret PEM text", "", "Private key of the client certificate, not encrypted.", "|", secret=True),
        Key("key_file", "path", "", "File with it. Excludes `key`.", "client-key.pem"),
        Key("server_name", "text", "", "Name that the server's certificate must carry, where it is not the host of the"
            " URL.", "prometheus.internal"),
        Key("min_version", "text", "TLS12", "Lowest TLS version: `TLS10`, `TLS11`, `TLS12` or `TLS13`.", "TLS13"),
        Key("max_version", "text", "", "Highest TLS version, as above.", "TLS12"),
        Key("insecure_skip_verify", "boolean", "false", "Do not check the server's certificate. Unsafe.", "true"),
    ),
    "http_headers": (
        Key("values", "list of texts", "[]", "Values of the header, sent comma-separated.", "[a, b]"),
        Key("secrets", "list of secrets", "[]", "More values, never shown.", "['${KEY}']", secret=True),
        Key("files", "list of paths", "[]", "Files that hold more values, read again on every use.",
            "[/run/secrets/key]"),
    ),
    "tenants": (
        Key("id", "text", REQUIRED, "The tenant (header `X-Scope-OrgID`): up to 150 of `0-9 a-z A-Z ! - _ . * ' ( )`."
            " `a|b` reads several tenants at once. With `{tenant}` in the URL: `accountID` or `accountID:projectID`.",
            "team-a"),
        Key("url", "URL", "", "In place of `source.url`.", "http://mimir-eu:8080/prometheus"),
        Key("queries", "list of blocks", "[]", "Queries of this tenant alone, beside the shared ones.",
            "[{name: orders, expr: orders}]"),
        Key("shared_queries", "boolean", "true", "`false`: its own `queries` in place of the shared ones.", "false"),
        Key("limits", "block", "{}", "In place of those of the file and of the shared queries, key by key; its own"
            " queries can have their own.", "{max_series: 5000}"),
        Key("interval", "duration", "", "In place of those of `global` and of the shared queries; its own queries can"
            " have their own.", "5m"),
        Key("max_in_flight", "integer", "", "In place of `source.max_in_flight`; 1 to 64.", "2"),
        *HTTP_KEYS,
    ),
    "queries": (
        Key("name", "text", REQUIRED, "Label `query` of everything published: up to 64 letters, digits and"
            " underscores, no digit first, each name once.", "http_requests"),
        Key("expr", "text", REQUIRED, "PromQL that gives one series per thing to watch. Counters within `rate()`.",
            "sum by (service) (rate(http_requests_total[5m]))"),
        Key("models", "list", "[robust_band, shesd]", "Models that judge each series, by name or as a block with"
            " options; each at most once.", "[robust_band]"),
        Key("sensitivity", "text or number", "normal", "`high` (0.85), `normal` (1), `low` (1.25), or the factor on the"
            " threshold itself: 0.1 (many anomalies) to 10 (few).", "high"),
        Key("signals", "list", "[]", "Slow signals beside the score: `shift` (the level drifts; needs a window of at"
            " least 3d) and `stale` (the value is frozen); each at most once.", "[shift, stale]"),
        Key("direction", "text", "both", "Which deviations count: `both`, `above` or `below`.", "above"),
        Key("min_deviation", "number", "0", "Deviations smaller than this never count, in the unit of the series.",
            "10"),
        Key("min_relative_deviation", "number", "0", "The same as a share of the expected value: 0.2 is 20 %.", "0.2"),
        Key("data_range", "list of two numbers", "[-.inf, .inf]", "Values that can be: the band is kept within it, a"
            " sample outside is an anomaly. `.inf` is no limit.", "[0, .inf]"),
        Key("min_history", "duration", "0s", "A series is not judged before it is this old. At most `window`.", "1d"),
        Key("absent_for", "duration", "1d", "How long a vanished series is shown as absent before it is forgotten. At"
            " most 1y.", "6h"),
        Key("interval", "duration", "", "In place of `global.interval`.", "30s"),
        Key("step", "duration", "", "In place of `global.step`.", "1m"),
        Key("window", "duration", "", "In place of `global.window`.", "7d"),
        Key("limits", "block", "{}", "In place of those of the file, key by key.", "{max_series: 5000}"),
        Key("publish", "text", "", "In place of that of the file.", "score"),
        Key("detectability", "boolean", "", "In place of that of the file.", "true"),
        Key("alert", "block", "{}", "In place of that of the file, key by key.", "{severity: critical}"),
        Key("relabel_configs", "list of blocks", "[]", "Rules on the labels of the results, after those of the file.",
            "[{action: labeldrop, regex: 'pod|uid'}]"),
        Key("drop_labels", "list of texts", "[]", "Labels that are not published, such as those that change with every"
            " deployment; after all rules.", "[pod]"),
    ),
    "relabel_configs": (
        Key("action", "text", "replace", "`replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`,"
            " `labeldrop`, `labelkeep`, `lowercase` or `uppercase`.", "lowercase"),
        Key("source_labels", "list of texts", "[]", "Labels whose values are joined and looked at; `__name__` is the"
            " name of the metric.", "[namespace, pod]"),
        Key("separator", "text", ";", "What stands between them.", "/"),
        Key("regex", "text", "(.*)", "Regular expression (RE2) that the whole of it must match.", "(.+)-[a-z0-9]+"),
        Key("modulus", "integer", "", "For `hashmod`: 1 to 18446744073709551615.", "16"),
        Key("target_label", "text", "", "The label that is set or compared; for `replace` with groups of the regex, if"
            " you like.", "workload"),
        Key("replacement", "text", "$1", "What it is set to: text with `$1` or `${name}` for groups of the regex;"
            " nothing removes the label.", "${1}"),
    ),
    "alert": (
        Key("enabled", "boolean", "true", "`false`: no alert about the series of the query. Those about the exporter"
            " stay.", "false"),
        Key("model", "text", "", "The model whose score alerts, or `consensus`: what all models of the query call"
            " anomalous. Without it `robust_band` where the query has it, else its first model.", "consensus"),
        Key("lookback", "duration", "15m", "An anomaly counts for so long after its last anomalous sample. 1m to 1d.",
            "30m"),
        Key("for", "duration", "0s", "Wait so long before the alert. Shorter than `lookback`.", "5m"),
        Key("keep_firing_for", "duration", "0s", "Keep the alert for so long after `lookback` has passed; Prometheus"
            " 2.42 or newer. At most 7d.", "30m"),
        Key("severity", "text", "warning", "Severity of AnomalyDetected: up to 64 letters, digits and `_ . -`.",
            "critical"),
        Key("direction", "text", "", "`both`, `above` or `below`: which anomalies alert. Without it the query's own"
            " `direction`, which it can only narrow.", "above"),
        Key("min_share", "number", "0.1", "AnomalyShareHigh alerts from this share of the series on: above 0, up to"
            " 1.", "0.2"),
        Key("min_series", "integer", "5", "And from this number of anomalous series on: 1 to 1000000000.", "20"),
        Key("share_severity", "text", "critical", "Severity of AnomalyShareHigh, as above.", "warning"),
        Key("group_by", "list of texts", "[]", "Labels of the series by which AnomalyShareHigh groups beside tenant and"
            " query; shares by them are recorded, too.", "[zone]"),
    ),
    "links": (
        Key("exporter", "URL", "", "This exporter. Without it alerts take the address from the label `instance` of its"
            " metrics, with `http://` before it.", "https://anomalies.example.org"),
        Key("grafana", "URL", "", "The Grafana that has the dashboards. Without it alerts have no `dashboard_url`.",
            "https://grafana.example.org"),
        Key("runbooks", "URL", "", "Runbooks of your own, a page per alert by its name; `{alert}` in it stands for the"
            " name. Without it: `/runbooks/` of the exporter.", "https://wiki.example.org/runbooks"),
    ),
    "limits": (
        Key("max_series", "integer", "1000000", "Series that a query may watch for a tenant, those that have gone"
            " missing included; more are shed. 0 is no limit. Up to 1000000000.", "100000"),
        Key("max_points", "integer", "2500000000", "Points that its window may hold: series times steps of the window,"
            " 4 bytes each; more series are shed. 0 is no limit. 100000 to 1000000000000.", "400000000"),
        Key("query_timeout", "duration", "0s", "Longest time for one of its queries, told to the server, too. At most"
            " `source.timeout`, which 0s stands for; 100ms to 1h.", "10s"),
        Key("label_limit", "integer", "128", "Labels that a series may be published with, those that the exporter adds"
            " aside; one with more is not watched. 0 is no limit. Up to 10000.", "40"),
        Key("label_name_length_limit", "integer", "1024", "Bytes that the name of such a label may have; a series with"
            " a longer one is not watched. 0 is no limit. Up to 16777216.", "128"),
        Key("label_value_length_limit", "integer", "4096", "Bytes that its value may have; a series with a longer one"
            " is not watched. 0 is no limit. Up to 16777216.", "2048"),
    ),
    "robust_band": (Key("name", "text", REQUIRED, "`robust_band`.", "robust_band"),),
    "shesd": (
        Key("name", "text", REQUIRED, "`shesd`.", "shesd"),
        Key("alpha", "number", "0.05", "Level of the outlier test: above 0, up to 0.5.", "0.01"),
        Key("max_anoms", "number", "0.02", "Largest share of the window that may be outliers: above 0, up to 0.49.",
            "0.05"),
        Key("seasonal", "text", "median", "How the season is removed: `median` (phase medians, fast) or `stl` (as in"
            " the paper, thousands of times slower).", "stl"),
    ),
    "remote_write": (
        Key("url", "URL", REQUIRED, "Where samples are written to. Prometheus: `/api/v1/write`; Mimir and Cortex:"
            " `/api/v1/push`. A query in it is kept, but not shown.", "http://prometheus:9090/api/v1/write"),
        Key("name", "text", "", "Label `target` of the metrics about it, each name once: up to 64 letters, digits and"
            " `_ . : -`. Without it: host and port of the URL.", "long_term"),
        Key("remote_timeout", "duration", "30s", "Longest wait for an answer; 100ms to 10m.", "10s"),
        Key("headers", "mapping of texts", "{}", "More headers, by name. Not allowed: headers that the client sets"
            " itself.", "{X-Scope-OrgID: team-a}"),
        Key("protobuf_message", "text", "prometheus.WriteRequest", "`prometheus.WriteRequest` (protocol 1.0) or"
            " `io.prometheus.write.v2.Request` (2.0; goes back to 1.0 where the receiver does not know it).",
            "io.prometheus.write.v2.Request"),
        Key("tenant", "text", "", "The tenant that all results are written to, whosever they are (header"
            " `X-Scope-OrgID`, or `{tenant}` in `url`).", "anomalies"),
        Key("per_tenant", "boolean", "false", "Write the results of each tenant to that tenant, by a queue of its own."
            " Excludes `tenant`.", "true"),
        Key("write_relabel_configs", "list", "[]", "Must be empty: not available in this version.", "[]"),
        Key("queue_config", "block", "{}", "The queue in front of the target.", "{max_samples_per_send: 5000}"),
        *HTTP_KEYS,
    ),
    "queue_config": (
        Key("capacity", "integer", "10000000", "Samples that may wait; beyond it the oldest are dropped and counted."
            " 1 to 1000000000.", "1000000"),
        Key("max_bytes", "size", "512MiB", "Memory that waiting samples may take, about 50 bytes each; beyond it the"
            " oldest are dropped. 1MiB to 1TiB.", "64MiB"),
        Key("max_samples_per_send", "integer", "2000", "Samples in a request, at most. 1 to 1000000, up to"
            " `capacity`.", "5000"),
        Key("batch_send_deadline", "duration", "5s", "A request that is not full waits so long for more; 0s to 10m.",
            "1s"),
        Key("min_backoff", "duration", "30ms", "Wait after the first failure; doubles with each further one. 1ms to"
            " 10m.", "100ms"),
        Key("max_backoff", "duration", "5s", "Longest wait between two attempts, but for a longer `Retry-After` (at"
            " most 5m). 1ms to 1h.", "30s"),
        Key("retry_on_http_429", "boolean", "true", "Send again what was answered with 429; otherwise it is dropped.",
            "false"),
        Key("sample_age_limit", "duration", "0s", "Waiting samples older than this are dropped; 0s is no limit. At most"
            " 1y.", "1h"),
        Key("min_shards", "integer", "1", "Accepted for compatibility: a target has one connection. 1 to 10000.", "1"),
        Key("max_shards", "integer", "1", "Accepted for compatibility: a target has one connection. 1 to 10000.", "50"),
    ),
    "tenant_discovery": (
        Key("files", "list of paths", "[]", "Files with a list of tenants, in YAML or JSON; read again when they"
            " change.", "[tenants.yml]"),
        Key("query", "block", "", "A query on the source whose series name the tenants.",
            "{label: user, expr: 'count by (user) (cortex_ingester_active_series)', tenant: ops}"),
        Key("refresh", "duration", "5m", "How often the query is asked; 5s to 1d.", "1m"),
        Key("max_tenants", "integer", "1000", "Tenants that may be discovered; more are left out, and named in the log."
            " 1 to 100000.", "200"),
    ),
    "tenant_discovery.query": (
        Key("label", "text", REQUIRED, "The label whose values are tenant ids.", "user"),
        Key("expr", "text", "", "PromQL, asked as an instant query. Without it: all values of the label.",
            "count by (user) (cortex_ingester_active_series)"),
        Key("tenant", "text", "", "The tenant that is asked. Without it no header is sent.", "ops"),
    ),
}  # fmt: skip


def keys_of(block: str) -> dict[str, Key]:
    """The keys a block may have, by name."""
    return {key.name: key for key in BLOCKS[block]}


def homes_of(name: str) -> tuple[str, ...]:
    """The blocks that have a key of this name, for a hint to whoever put it elsewhere."""
    return tuple(block for block, keys in BLOCKS.items() if block and any(key.name == name for key in keys))
