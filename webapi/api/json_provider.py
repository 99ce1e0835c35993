"""How JSON is read and written."""

from typing import Any

from flask.json.provider import DefaultJSONProvider


class JsonProvider(DefaultJSONProvider):
    """Flask's own, with objects in the order they are written, and one more kind of text that is no JSON for us."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read a document.

        Raises: ValueError, it is malformed, or nested so deeply that Python's parser gives up.
        """
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
