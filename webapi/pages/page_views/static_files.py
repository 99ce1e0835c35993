"""Style sheets, scripts and icons. Their addresses change with their content, so that browsers keep them for a year."""

from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app, send_file, url_for

from webapi.pages.page_blueprints import page
from webapi.pages.page_errors import answer_error

STATIC = Path(__file__).parents[1] / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_EXTENSION = "mycoflow-static"

pages = Blueprint("static", __name__)  # without the check of forms, which needs the database
pages.register_error_handler(Exception, answer_error)


@pages.get("/static/<digest>/<path:name>")
@page(None)
def get_static(digest: str, name: str) -> Response:
    """Return a file."""
    digests = current_app.extensions[_EXTENSION]
    if name not in digests:
        abort(404)
    response = send_file(STATIC / name, mimetype=_KINDS[Path(name).suffix], etag=digests[name])
    is_current = digest == digests[name]
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_current else "no-cache"
    return response


def init_app(app: Flask) -> None:
    """Give templates the addresses of the files."""
    files = [path for path in STATIC.rglob("*") if path.suffix in _KINDS]
    digests = {path.relative_to(STATIC).as_posix(): sha256(path.read_bytes()).hexdigest()[:12] for path in files}
    app.extensions[_EXTENSION] = digests
    app.jinja_env.globals["static_url"] = lambda name: url_for("static.get_static", digest=digests[name], name=name)
