"""The recording and alert rules, as data; written as files for Prometheus, a mixin or the operator."""
