"""The result page: text exposition, metrics about the exporter itself, and the web server."""
