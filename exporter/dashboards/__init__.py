"""The dashboards, as data; written as the JSON that Grafana reads."""
