"""Answer with a page: its template, and the policy that keeps foreign scripts, frames and addresses out of it."""

from flask import Response, g, make_response, render_template
from flask_babel import get_locale

from webapi.pages.form_pages import page_address

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # data: the icons in Pico's style sheet; blob: a photo before it is sent
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def respond(template: str, status: int = 200, **values: object) -> Response:
    """Return a page. Args: values, of the template's variables."""
    text = render_template(template, account=g.get("account"), notice=g.get("notice"), here=page_address(), **values)
    response = make_response(text, status)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Content-Language"] = str(get_locale())
    response.vary.update(("Cookie", "Accept-Language"))
    return response
