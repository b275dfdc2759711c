"""What a change of the config leaves as it was: whose windows may be kept."""

from __future__ import annotations

from dataclasses import replace

from exporter.config.schema import Config, Source
from exporter.config.secret import sounds_secret


def same_data(new: Config, old: Config) -> bool:
    """Whether windows and results under one config are what they would be under the other, for tenants and queries that
    stay what they are. Where and as whom the source is asked is for `reads_as` to tell."""

    def told(config: Config) -> Config:
        source = replace(config.source, url=old.source.url, http=old.source.http, timeout_s=0, accept_gzip=False,
                         max_in_flight=1, max_points_per_query=1, max_body_bytes=1, remote_read=False)  # fmt: skip
        return replace(config, source=source, queries=(), tenants=(), tenant_discovery=None, interval_s=0, window_s=0,
                       step_s=0, remote_write=(), limits=old.limits, publish=old.publish, detectability=False,
                       alert=old.alert, links=old.links)  # fmt: skip

    return told(new) == told(old) and bool(new.remote_write) == bool(old.remote_write)


def reads_as(source: Source) -> tuple[object, ...]:
    """What decides which series a source shows: where, and as whom it is asked. Passwords, tokens and files are renewed
    without that; a user, a client or a header in plain words may be another tenant's."""
    http = source.http
    user = http.basic_auth.username if http.basic_auth else ""
    client = http.oauth2.client_id if http.oauth2 else ""
    open_headers = ((header.name.lower(), header.values) for header in http.http_headers if header.values)
    return source.url, user, client, tuple(pair for pair in open_headers if not sounds_secret(pair[0]))
