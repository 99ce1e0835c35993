"""Bodies that are larger than a photo: only marked views take them, few at once, and on disk.

    @api.post("/prediction-batches")
    @takes_large_uploads(MOST_ARCHIVE_BYTES)
    @requires("user")
    def post_batch() -> Response: ...

A form is read before its view is called: to check its token, or the names of its fields. So the limits hold from the
moment when the account is known to be allowed.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar

from flask import Flask, Request, current_app, g, request

from ml.serving.admission import Places
from ml.settings import Settings
from webapi.access.authentication import current_account

_OVERHEAD_BYTES = 8 * 1024 * 1024  # the form's other fields: 1000 addresses of 4096 signs, each in up to two bytes
_AT_ONCE, _PER_ACCOUNT = 4, 1
_EXTENSION = "mycoflow-uploads"
_View = TypeVar("_View", bound=Callable[..., object])


class UploadingRequest(Request):
    """A request that keeps a large file of a form on disk, in the service's home: other folders may be in memory."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Return where to write a file."""
        if "large_upload" not in g:
            return super()._get_file_stream(total_content_length, content_type, filename, content_length)
        folder: Path = g.large_upload
        folder.mkdir(parents=True, exist_ok=True)
        return TemporaryFile(dir=folder)


def takes_large_uploads(most_bytes: int) -> Callable[[_View], _View]:
    """Let a view take files of a form up to this size in all. Put it below the route's decorator."""

    def mark(view: _View) -> _View:
        view.most_bytes = most_bytes  # type: ignore[attr-defined]
        return view

    return mark


def init_app(app: Flask, settings: Settings) -> None:
    """Widen the limits for the views that are marked. Call it after the authorisation is set up."""
    app.extensions[_EXTENSION] = Places(_AT_ONCE, _PER_ACCOUNT)
    folder = settings.mycoflow_home / "uploads"

    def widen() -> None:
        view = app.view_functions.get(request.endpoint or "")
        most_bytes: int | None = getattr(view, "most_bytes", None)
        if most_bytes is None or request.method not in {"POST", "PUT"}:
            return
        g.held_place = ExitStack()
        g.held_place.enter_context(current_app.extensions[_EXTENSION].hold(current_account().id))
        g.large_upload = folder
        request.max_content_length = most_bytes + _OVERHEAD_BYTES
        request.max_form_memory_size = _OVERHEAD_BYTES

    def leave(_error: BaseException | None) -> None:
        if "held_place" in g:
            g.held_place.close()

    app.before_request(widen)
    app.teardown_request(leave)
