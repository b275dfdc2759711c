"""anomaly-exporter: anomaly scores and bands for every series of a Prometheus-compatible server."""

__version__ = "0.1.0"
