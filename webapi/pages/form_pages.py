"""Show the page of a form again, with all that was typed. Also: which page comes next.

Each form is sent to the address of its own page: the page of a form is what GET answers there.
"""

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from flask import Response, current_app, g, make_response, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException

from webapi.access.authentication import has_role, required_role
from webapi.access.session_cookie import reads_cookie

_MOST_KEPT = 100_000  # characters
Typed = list[tuple[str, str]]


def typed_now() -> Typed:
    """Return what was typed into the form of this request, without passwords; nothing from a form that is too large."""
    try:
        fields = list(request.form.items(multi=True))
    except HTTPException:
        return []
    return [(name, value) for name, value in fields if "password" not in name and name != "csrf_token"]


def sent_token() -> str:
    """Return the CSRF token that this request brought; empty if there is none, or if the form is too large.

    A page that repeats a form repeats its token, so a form that came from elsewhere gets no valid one.
    """
    try:
        return request.form.get("csrf_token", "")
    except HTTPException:
        return ""


def brought_photo() -> bool:
    """Return whether this request brought a file. A browser never fills in a file again: people choose it again."""
    try:
        return any(file.filename for file in request.files.values())
    except HTTPException:
        return False


def write_kept(typed: Typed) -> str:
    """Write what was typed for a hidden field of the login form; nothing if all fields are empty."""
    return json.dumps(typed) if any(value for _name, value in typed) else ""


def read_kept(text: str) -> Typed:
    """Read what `write_kept` wrote; nothing from any other text."""
    if len(text) > _MOST_KEPT:
        return []
    try:
        pairs = json.loads(text or "[]")
        return [(name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str)]
    except (ValueError, TypeError, RecursionError):
        return []


def prefill() -> MultiDict[str, str] | None:
    """Return what a form shows at first: what was typed into it before, if it is shown again."""
    typed: Typed | None = g.get("typed")
    return MultiDict(typed) if typed else None


def page_address() -> str:
    """Return the address of the page, also when it is shown again after a login: forms are sent there."""
    address: str = g.get("page_address") or request.full_path.rstrip("?")
    return address


def page_argument(name: str) -> str | None:
    """Return an argument in the address of the page, also when it is shown again after a login; None if it is empty.

    The database knows no character NUL: it becomes one that no name has.
    """
    arguments: MultiDict[str, str] = g.get("page_arguments", request.args)
    return arguments.get(name, "").replace("\0", "\N{REPLACEMENT CHARACTER}") or None


def show_form(address: str, typed: Iterable[tuple[str, str]], notice: object, status: int = 200) -> Response | None:
    """Return the page at an address with a notice, its form filled with what was typed.

    Returns: None if the account has no page there.
    Raises: what the page raises.
    """
    parts = urlsplit(address)
    endpoint, arguments = _find_page(parts.path)
    if endpoint is None:
        return None
    role = required_role(current_app, endpoint)
    if role is not None and ("account" not in g or not has_role(g.account, role)):
        return None
    g.typed, g.notice = list(typed), notice
    g.page_address, g.page_arguments = address, MultiDict(parse_qsl(parts.query))
    response = make_response(current_app.ensure_sync(current_app.view_functions[endpoint])(**arguments))
    if response.status_code < 300:
        response.status_code = status
    return response


def safe_page(address: str | None) -> str:
    """Return an address if it is a page of this site, else the first page: nobody is led elsewhere by a link."""
    first = url_for("naming.show_naming")
    if not address or not address.startswith("/") or any(ord(each) < 33 or each == "\\" for each in address):
        return first
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or address.startswith("//"):
        return first
    return first if _find_page(parts.path)[0] is None else address


def _find_page(path: str) -> tuple[str | None, dict[str, object]]:
    try:
        endpoint, arguments = current_app.url_map.bind("").match(path, "GET")
    except HTTPException:  # also a redirect
        return None, {}
    return (endpoint, dict(arguments)) if reads_cookie(current_app, endpoint) else (None, {})
