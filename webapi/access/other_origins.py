"""Let scripts of listed sites use the API (CORS). By default, no site may.

They send a bearer token: the browser sends them no cookie, and Basic credentials stay refused from other sites. The
pages are for no other site.

Source: Fetch Standard, CORS protocol.
"""

import re

from flask import Flask
from flask_cors import CORS

from ml.settings import Settings
from webapi.access.session_cookie import reads_cookie

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_REQUEST_HEADERS = ["Authorization", "Content-Type"]
_RESPONSE_HEADERS = ["Prediction-Id", "Link", "Retry-After", "X-Request-ID"]
_PREFLIGHT_SECONDS = 3600


def init_app(app: Flask, settings: Settings) -> None:
    """Allow the sites of the settings. Call it after all routes are registered."""
    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if not origins:
        return
    routes = [rule.rule for rule in app.url_map.iter_rules() if not reads_cookie(app, rule.endpoint)]
    CORS(
        app,
        resources=[_pattern(route) for route in routes],
        origins=origins,
        methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
        supports_credentials=False,
    )


def _pattern(route: str) -> str:
    fixed = re.split("<[^>]+>", route)
    return f"^{'[^/]+'.join(map(re.escape, fixed))}$"
