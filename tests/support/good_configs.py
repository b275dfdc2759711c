"""Good configs to start from."""

from __future__ import annotations

SMALLEST = """\
source: {url: http://prometheus:9090}
queries:
  - {name: load, expr: node_load1}
"""
DESIGN = """\
global:   {interval: 1m, window: 7d, step: 5m}
source:   {url: http://prometheus:9090}
tenants:
  - id: team-a
queries:
  - name: http_requests
    expr: sum by (service) (rate(http_requests_total[5m]))
    models: [robust_band, shesd]
    sensitivity: normal                          # high | normal | low, or a number
    signals: [shift, stale]
    direction: both                              # both | above | below
    min_deviation: 0
    min_relative_deviation: 0
    data_range: [0, .inf]
remote_write: []
"""
EVERYTHING = """\
global: {interval: 30s, step: 1m, window: 1w}
metric_names: vmanomaly
tenants: [{id: team-a}, {id: "a|b"}, {id: "!-_.*'()"}]
source:
  url: https://mimir:8080/prometheus/
  timeout: 1m30s
  accept_gzip: true
  max_in_flight: 2
  max_points: 1000000
  max_body_bytes: 1GiB
  remote_read: true
  params: {nocache: "1", dedup: ""}
  basic_auth: {username: ae, password_file: secrets/pw}
  tls_config:
    ca_file: /etc/ca.pem
    cert_file: client.pem
    key_file: client-key.pem
    server_name: mimir.internal
    min_version: TLS12
    max_version: TLS13
    insecure_skip_verify: false
  proxy_url: http://proxy:3128
  no_proxy: 10.0.0.0/8,.internal
  follow_redirects: false
  enable_http2: false
  http_headers:
    X-Team: {values: [a, b]}
    X-More: {files: [more.txt, /run/more]}
queries:
  - name: errors
    expr: |
      sum by (job) (rate(errors_total{path=~"/api/.*$"}[5m]))   # a comment (
        / sum by (job) (rate(requests_total[5m]))
    models:
      - {name: shesd, alpha: 1e-3, max_anoms: .05, seasonal: stl}
      - robust_band
    sensitivity: 0.5
    direction: above
    min_deviation: 0.01
    min_relative_deviation: 5e-1
    data_range: [-.inf, 1]
    min_history: 3d
    absent_for: 0
    interval: 5m
    step: 15m
    window: 60d
  - name: dollars
    expr: 'a{b="$$$${x}"} $ b'
"""
