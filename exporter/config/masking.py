"""The effective config as text that may be shown, and a hash that tells whether it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
    TlsConfig,
)
from exporter.config.secret import MASK, Secret, mask_url, sounds_secret
from exporter.models.settings import ModelSettings, ShesdSettings

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
        "global": times | {"window": _seconds(config.window_s)},
        "source": _source(config.source),
        "tenants": [{"id": tenant.id} for tenant in config.tenants],
        "queries": [_query(query) for query in config.queries],
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


def _remote_write(target: RemoteWrite) -> Yaml:
    queue = target.queue
    shown: Yaml = {
        "url": mask_url(target.url),
        "name": target.name,
        "remote_timeout": _millis(target.timeout_s),
        "protobuf_message": target.message,
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
    }


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
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str) and ("$$" in value or "${" in value):
        return value.replace("$", "$$")
    return value
