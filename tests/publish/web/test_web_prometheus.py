"""A real Prometheus scrapes over TLS, by a client certificate and a password, while the certificate is renewed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from support.servers import ask, prometheus_in, scrape_of, wait_until
from support.webserver import PASSWORD, USER, USERS, Papers, served, written

from exporter.publish.web import WebLimits


def scrapes(papers: Papers, port: int) -> dict[str, Any]:
    """Jobs with everything that is asked for, without the password, and without the certificate."""
    certificate, key = papers.client("prometheus.internal")
    trusting = {"ca_file": str(papers.ca_file), "server_name": "localhost"}
    tls = {"scheme": "https", "tls_config": trusting | {"cert_file": certificate, "key_file": key}}
    login = {"basic_auth": {"username": USER, "password": PASSWORD}}
    jobs = [
        scrape_of("whole", port, **tls, **login),
        scrape_of("nobody", port, **tls),
        scrape_of("stranger", port, **login, scheme="https", tls_config=trusting),
    ]
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}


def up(url: str) -> dict[str, float]:
    return {one["metric"]["job"]: float(one["value"][1]) for one in ask(url, "up")}


def test_prometheus_scrapes_over_tls(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    tls = papers.server() | {
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem",
        "client_allowed_sans": ["prometheus.internal"],
    }  # fmt: skip
    config = written(tmp_path, {"tls_server_config": tls, "basic_auth_users": USERS})
    often = WebLimits(read_timeout_s=0.5, stop_patience_s=0.1)  # idle connections end, so that each scrape makes one
    with served(config=config, limits=often) as web, prometheus_in(tmp_path, scrapes(papers, web.port)) as url:
        wait_until(lambda: up(url) == {"whole": 1, "nobody": 0, "stranger": 0}, "one of the three gets the page")
        assert {one["metric"]["job"] for one in ask(url, "count by (job) (count_over_time(a[5m]))")} == {"whole"}
        assert web.refused("authentication") > 0
        assert web.refused("tls") > 0
        papers.server()  # renewed in place
        renewed_s = time.time()
        wait_until(lambda: ups_since(url, renewed_s) >= 2, "scrapes go on, by the new certificate")
        assert web.count("config_last_reload_successful") == 1
        assert web.count("config_last_reload_success_timestamp_seconds") >= renewed_s - 1


def ups_since(url: str, time_s: float) -> int:
    """How many scrapes since then were good."""
    found = ask(url, 'up{job="whole"}[5m]')
    return sum(float(at) > time_s and value == "1" for one in found for at, value in one["values"])
