"""The web server: what it answers, to whom, and how slow or rude clients are kept from standing in the way."""

from exporter.publish.landing import Landing, LandingRow, LandingUnit
from exporter.publish.web.limits import WebLimits, WebOptions
from exporter.publish.web.metrics import WebMetrics
from exporter.publish.web.negotiation import wants_openmetrics, zip_pieces
from exporter.publish.web.routes import HTML_TYPE, Answered, Routes
from exporter.publish.web.server import WebServer

__all__ = [
    "HTML_TYPE",
    "Answered",
    "Landing",
    "LandingRow",
    "LandingUnit",
    "Routes",
    "WebLimits",
    "WebMetrics",
    "WebOptions",
    "WebServer",
    "wants_openmetrics",
    "zip_pieces",
]
