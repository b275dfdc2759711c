"""Explains one verdict on one series: the same samples, kernels and policy once more, and what they say in words."""
