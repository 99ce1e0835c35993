"""Read and write JSON."""

from typing import Any

from flask.json.provider import DefaultJSONProvider


class JsonProvider(DefaultJSONProvider):
    """Flask's provider, but it keeps the order of keys, and refuses deeply nested documents."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read a document.

        Raises: ValueError, the document is malformed, or nested too deeply for Python's parser.
        """
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
