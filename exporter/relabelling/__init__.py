"""Relabelling as Prometheus does it: rules on labels, and what becomes of the labels of a watched series."""
