"""Security for browsers and proxies: headers on every response, and no cross-site use of Basic credentials.

Source: OWASP REST Security Cheat Sheet; Fetch Metadata Request Headers (W3C).
"""

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from ml.settings import Settings
from webapi.problems import ProblemError

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_HSTS = "max-age=31536000"
_OWN_SITE = frozenset({"same-origin", "none"})  # none: typed into the address bar


def init_app(app: Flask, settings: Settings) -> None:
    """Add security headers and the trust in proxies to an application."""
    if settings.trusted_proxies:
        proxies = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    app.after_request(_add_headers)


def refuse_cross_site() -> None:
    """Refuse a request that another site caused, because the browser adds stored Basic credentials to it.

    Raises: ProblemError, 403.
    """
    if not _is_own_site():
        raise ProblemError(
            403, "cross-site", "Requests from other sites are refused with HTTP Basic. Use a bearer token."
        )


def is_from_elsewhere() -> bool:
    """Return whether a browser says that another site sent this form.

    Without TLS it only sends `Origin: null`, for forms of this site too, since our policy hides where they come from.
    """
    has_hidden_origin = "Sec-Fetch-Site" not in request.headers and request.headers.get("Origin") == "null"
    return not has_hidden_origin and not _is_own_site()


def is_preflight() -> bool:
    """Return whether a browser only asks what another site may send. It sends no credentials with this question."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _is_own_site() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in _OWN_SITE
    # Browsers omit Sec-Fetch-Site without TLS. Programs send neither header.
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", _HSTS)
    return response
