"""Check the names of parameters in URLs and forms, for all routes. Names may be in any case, but must be known.

Each name may occur once. The OpenAPI document has the known names, so each route in it is checked.
"""

import re
from collections.abc import Iterable
from typing import Any

from flask import Flask, request
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.datastructures.structures import iter_multi_items

from webapi.access.large_uploads import UploadingRequest
from webapi.problems import ProblemError

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_SHOWN_CHARACTERS = 50


class _Parameters(ImmutableMultiDict[str, Any]):
    """Parameters with names in lower case: the specification writes `Nb_preds`, `File` and `Model_name`."""

    def __init__(self, mapping: Any = None) -> None:
        super().__init__([(name.lower(), value) for name, value in iter_multi_items(mapping or ())])


class FoldedRequest(UploadingRequest):
    """A request whose parameter names may be in any case."""

    parameter_storage_class = _Parameters


def init_app(app: Flask, document: dict[str, Any]) -> None:
    """Refuse parameters that a route does not know. Call it after the authorisation is set up, which must run first.

    Args: document, the application's OpenAPI document.
    """
    operations = {
        (method.upper(), rule.endpoint): operation
        for rule in app.url_map.iter_rules()
        for method, operation in document["paths"].get(path_of(rule.rule), {}).items()
        if method.upper() in (rule.methods or ())
    }

    def refuse_unknown() -> None:
        method = "GET" if request.method == "HEAD" else request.method
        operation = operations.get((method, request.endpoint or ""))
        if operation is None:
            return
        _check(request.args, _in_query(operation))
        fields = _in_form(operation)
        if fields and request.mimetype in _FORMS:
            _check(MultiDict([*request.form.items(multi=True), *request.files.items(multi=True)]), fields)

    app.before_request(refuse_unknown)


def path_of(rule: str) -> str:
    """Return a route in the form of the OpenAPI document."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule)


def _in_query(operation: dict[str, Any]) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]


def _in_form(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    return [name for kind in _FORMS if kind in content for name in content[kind]["schema"].get("properties", {})]


def _check(given: MultiDict[str, Any], known: Iterable[str]) -> None:
    for name, values in given.lists():
        if name not in known:
            raise _invalid(name, f"expected {_listed(known)}, got another name. {_ENCODE}")
        if len(values) > 1:
            raise _invalid(name, f"expected it once, got it {len(values)} times. {_ENCODE}")


_ENCODE = "In an address inside a parameter, write & as %26 and ? as %3F: percent-encode it."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "no parameters"


def _invalid(name: str, what: str) -> ProblemError:
    return ProblemError(422, "invalid-request", f"{name[:_SHOWN_CHARACTERS]}: {what}")
