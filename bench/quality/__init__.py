"""Detection quality, measured on labelled data: ``python -m bench.quality --data DIR``."""
