"""Recording and alert rules, written from a config or as they are by default."""
