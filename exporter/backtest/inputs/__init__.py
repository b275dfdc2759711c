"""Samples from files in place of a server: CSV, Parquet and OpenMetrics."""
