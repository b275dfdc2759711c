"""What a cycle costs beside a real Prometheus, beside the naive way, and how the cost grows with the series."""
