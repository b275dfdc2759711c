"""The effective config as text that may be shown, and a hash that tells whether it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import yaml

from exporter.config.durations import format_duration
from exporter.config.schema import (
    Alert,
    Config,
    Header,
    HttpConfig,
    Limits,
    OAuth2,
    ProxyConfig,
    Query,
    RemoteWrite,
    Source,
    Tenant,
    TenantDiscovery,
    TlsConfig,
)
from exporter.config.secret import MASK, Secret, mask_url, sounds_secret
from exporter.models.settings import ModelSettings, ShesdSettings
from exporter.relabelling.rule import Rule

Yaml = dict[str, Any]


def mask(config: Config) -> str:
    """The effective config as YAML, defaults filled in, every secret replaced by ``<secret>``.

    A config without secrets reads back as an equal one.
    """
    return yaml.safe_dump(_escaped(_config(config)), sort_keys=False, allow_unicode=True, width=120)


def content_hash(config: Config) -> str:
    """12 hex digits that stay the same as long as the effective config does; secrets do not count."""
    return hashlib.sha256(mask(config).encode()).hexdigest()[:12]


def _config(config: Config) -> Yaml:
    times = {"interval": _seconds(config.interval_s), "step": _seconds(config.step_s)}
    return {
        "global": times | {"window": _seconds(config.window_s)} | _set(external_labels=dict(config.external_labels)),
        "source": _source(config.source),
        "tenants": [_tenant(tenant) for tenant in config.tenants if not tenant.discovered],
        **_set(tenant_discovery=_discovery(config.tenant_discovery)),
        **_set(queries=[_query(query) for query in config.queries]),  # none: each tenant has its own
        "metric_names": config.metric_names,
        "metrics_page": config.metrics_page,
        "remote_write": [_remote_write(target) for target in config.remote_write],
        "limits": _limits(config.limits),
        "publish": config.publish,
        "detectability": config.detectability,
        "alert": _alert(config.alert),
        "links": _set(exporter=config.links.exporter, grafana=config.links.grafana, runbooks=config.links.runbooks),
    }


def _source(source: Source) -> Yaml:
    return {
        "url": source.url,
        "timeout": _millis(source.timeout_s),
        "accept_gzip": source.accept_gzip,
        "max_in_flight": source.max_in_flight,
        "max_points": source.max_points_per_query,
        "max_body_bytes": source.max_body_bytes,
        "remote_read": source.remote_read,
        "params": _params(source.query_params),
        **_http(source.http),
    }


def _tenant(tenant: Tenant) -> Yaml:
    shown: Yaml = {"id": tenant.id} | _set(url=tenant.url, queries=[_query(query) for query in tenant.queries])
    if not tenant.shared_queries:
        shown["shared_queries"] = False
    if tenant.limits:
        given = {name.removesuffix("_s") for name, _ in tenant.limits}
        of_tenant: dict[str, Any] = dict(tenant.limits)
        limits = _limits(replace(Limits(), **of_tenant))
        shown["limits"] = {key: value for key, value in limits.items() if key in given}
    if tenant.interval_s:
        shown["interval"] = _seconds(tenant.interval_s)
    return shown | _set(max_in_flight=tenant.max_in_flight) | (_http(tenant.http) if tenant.http else {})


def _discovery(discovery: TenantDiscovery | None) -> Yaml:
    if discovery is None:
        return {}
    query = discovery.query
    asked = _set(label=query.label, expr=query.expr, tenant=query.tenant) if query else {}
    times = {"refresh": _seconds(discovery.refresh_s), "max_tenants": discovery.max_tenants}
    return _set(files=list(discovery.files), query=asked) | times


def _remote_write(target: RemoteWrite) -> Yaml:
    queue = target.queue
    shown: Yaml = {
        "url": mask_url(target.url),
        "name": target.name,
        "remote_timeout": _millis(target.timeout_s),
        "protobuf_message": target.message,
        **_set(tenant=target.tenant, per_tenant=target.per_tenant),
    }
    headers = {header.name: MASK if sounds_secret(header.name) else header.values[0] for header in target.headers}
    shown["queue_config"] = {
        "capacity": queue.capacity,
        "max_bytes": queue.max_bytes,
        "max_samples_per_send": queue.max_samples_per_send,
        "batch_send_deadline": _millis(queue.batch_send_deadline_s),
        "min_backoff": _millis(queue.min_backoff_s),
        "max_backoff": _millis(queue.max_backoff_s),
        "retry_on_http_429": queue.retry_on_http_429,
        "sample_age_limit": _millis(queue.sample_age_limit_s),
    }
    return shown | _set(headers=headers) | _http(target.http)


def _http(http: HttpConfig) -> Yaml:
    shown: Yaml = {}
    if http.basic_auth:
        auth = http.basic_auth
        shown["basic_auth"] = _set(
            username=auth.username,
            username_file=auth.username_file,
            password=auth.password,
            password_file=auth.password_file,
        )
    if http.authorization:
        given = http.authorization
        shown["authorization"] = _set(
            type=given.type, credentials=given.credentials, credentials_file=given.credentials_file
        )
    if http.oauth2:
        shown["oauth2"] = _oauth2(http.oauth2)
    headers = {header.name: _header(header) for header in http.http_headers}
    shown |= _set(tls_config=_tls(http.tls), **_proxy(http.proxy))
    shown |= {"follow_redirects": http.follow_redirects, "enable_http2": http.enable_http2}
    return shown | _set(http_headers=headers)


def _oauth2(oauth2: OAuth2) -> Yaml:
    return _set(
        client_id=oauth2.client_id,
        client_secret=oauth2.client_secret,
        client_secret_file=oauth2.client_secret_file,
        token_url=mask_url(oauth2.token_url),
        scopes=list(oauth2.scopes),
        endpoint_params=dict.fromkeys(oauth2.endpoint_params, MASK),
        tls_config=_tls(oauth2.tls),
        **_proxy(oauth2.proxy),
    )


def _tls(tls: TlsConfig) -> Yaml:
    return _set(
        ca=tls.ca,
        ca_file=tls.ca_file,
        cert=tls.cert,
        cert_file=tls.cert_file,
        key=tls.key,
        key_file=tls.key_file,
        server_name=tls.server_name,
        min_version=tls.min_version,
        max_version=tls.max_version,
        insecure_skip_verify=tls.insecure_skip_verify,
    )


def _proxy(proxy: ProxyConfig) -> Yaml:
    return _set(
        proxy_url=mask_url(proxy.url.reveal()),
        no_proxy=proxy.no_proxy,
        proxy_from_environment=proxy.from_environment,
        proxy_connect_header={header.name: _texts(header.secrets) for header in proxy.connect_headers},
    )


def _header(header: Header) -> Yaml:
    values = [MASK if sounds_secret(header.name) else value for value in header.values]
    return _set(values=values, secrets=_texts(header.secrets), files=list(header.files))


def _query(query: Query) -> Yaml:
    return {
        "name": query.name,
        "expr": query.expr,
        "models": [_model(model) for model in query.models],
        "sensitivity": query.sensitivity,
        "signals": list(query.signals),
        "direction": query.direction,
        "min_deviation": query.min_deviation,
        "min_relative_deviation": query.min_relative_deviation,
        "data_range": list(query.data_range),
        "min_history": _seconds(query.min_history_s),
        "absent_for": _seconds(query.absent_for_s),
        "interval": _seconds(query.interval_s),
        "step": _seconds(query.step_s),
        "window": _seconds(query.window_s),
        "limits": _limits(query.limits),
        "publish": query.publish,
        "detectability": query.detectability,
        "alert": _alert(query.alert),
        **_set(relabel_configs=[_rule(rule) for rule in query.relabel_configs], drop_labels=list(query.drop_labels)),
    }


def _rule(rule: Rule) -> Yaml:
    """A rule without what is as it usually is."""
    usual, shown = asdict(Rule()), asdict(rule) | {"source_labels": list(rule.source_labels)}
    return {"action": rule.action} | {key: value for key, value in shown.items() if value != usual[key] and value != []}


def _alert(alert: Alert) -> Yaml:
    return {
        "enabled": alert.enabled,
        "model": alert.model,
        "lookback": _seconds(alert.lookback_s),
        "for": _seconds(alert.for_s),
        "keep_firing_for": _seconds(alert.keep_firing_for_s),
        "severity": alert.severity,
        "direction": alert.direction,
        "min_share": alert.min_share,
        "min_series": alert.min_series,
        "share_severity": alert.share_severity,
        "group_by": list(alert.group_by),
    }


def _limits(limits: Limits) -> Yaml:
    return {
        "max_series": limits.max_series,
        "max_points": limits.max_points,
        "query_timeout": _millis(limits.query_timeout_s),
        "label_limit": limits.label_limit,
        "label_name_length_limit": limits.label_name_length_limit,
        "label_value_length_limit": limits.label_value_length_limit,
    }


def _model(model: ModelSettings) -> Yaml | str:
    if not isinstance(model, ShesdSettings):
        return model.name
    return {"name": model.name, "alpha": model.alpha, "max_anoms": model.max_anoms, "seasonal": model.seasonal}


def _params(params: Mapping[str, str]) -> Yaml:
    return {name: MASK if sounds_secret(name) else value for name, value in params.items()}


def _set(**values: object) -> Yaml:
    """The values that are set, secrets masked."""
    return {name: MASK if isinstance(value, Secret) else value for name, value in values.items() if value}


def _texts(secrets: Iterable[Secret]) -> list[str]:
    return [MASK for _ in secrets]


def _millis(duration_s: float) -> str:
    return format_duration(round(duration_s * 1000))


def _seconds(duration_s: int) -> str:
    return format_duration(duration_s * 1000)


def _escaped(value: Any) -> Any:
    """The same with ``$`` doubled where reading it back would take it for something else."""
    if isinstance(value, dict):
        # The groups in relabelling rules are read as they stand.
        return {key: item if key == "relabel_configs" else _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str) and ("$$" in value or "${" in value):
        return value.replace("$", "$$")
    return value
