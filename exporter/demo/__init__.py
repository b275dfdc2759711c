"""A self-contained show: real servers, made-up tenants, and anomalies that happen while one looks."""

from exporter.demo.show import DemoOptions, run

__all__ = ["DemoOptions", "run"]
