"""A soak: the exporter beside a real Prometheus for a chosen time, with churn, reloads and faults."""
