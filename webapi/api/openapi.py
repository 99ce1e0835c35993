"""The OpenAPI document, generated from the code, and a page to read and try it."""

from importlib.metadata import version
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, send_from_directory
from flask_openapi3 import Info, OpenAPI

from webapi.access.authentication import public, required_role
from webapi.api import parameter_names
from webapi.api.parameter_names import FoldedRequest, path_of
from webapi.api.problem_answers import Problem, answer_errors_of
from webapi.problems import refuse_invalid

_ABOUT = "Classifies photos. Names of parameters in URLs and forms may be in upper or lower case."

_SWAGGER_UI = files("flask_openapi3_swagger") / "templates" / "swagger"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Mycoflow API</title>
<link rel="icon" href="/docs/images/swagger.svg">
<link rel="stylesheet" href="/docs/css/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/js/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
"""
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "Basic and Bearer", "schema": {"type": "string"}}}
_RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_DESCRIPTIONS = {
    "401": "No credentials, or wrong ones",
    "403": "The role does not allow it, or another site sent the request",
    "422": "A parameter is missing, wrong or unknown",
    "429": "Too many requests",
    "503": "A required service does not answer, or the limit of requests is reached",
}
_HEADERS = {"401": _CHALLENGE, "429": _RETRY, "503": _RETRY}


def new_app(import_name: str) -> OpenAPI:
    """Create an application that builds an OpenAPI document from its routes."""
    app = OpenAPI(
        import_name,
        info=Info(title="Mycoflow", version=version("mycoflow"), description=_ABOUT),
        security_schemes={
            "basic": {"type": "http", "scheme": "basic"},
            "bearer": {"type": "http", "scheme": "bearer", "description": "A token from POST /auth/login"},
        },
        validation_error_model=Problem,
        validation_error_callback=refuse_invalid,
        doc_ui=False,
        static_folder=None,
    )
    app.request_class = FoldedRequest
    return app


def init_app(app: OpenAPI) -> None:
    """Publish /openapi.json and /docs. Call it after all routes are registered."""
    document = describe(app)
    parameter_names.init_app(app, document)

    @public
    def get_document() -> Response:
        return jsonify(document)

    @public
    def get_page() -> Response:
        return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})

    @public
    def get_start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @public
    def get_file(path: str) -> Response:
        return send_from_directory(str(_SWAGGER_UI), path)

    description = Blueprint("description", __name__)
    answer_errors_of(description)
    description.add_url_rule("/openapi.json", view_func=get_document)
    description.add_url_rule("/docs", view_func=get_page)
    description.add_url_rule("/docs/start.js", view_func=get_start)
    description.add_url_rule("/docs/<path:path>", view_func=get_file)
    app.register_blueprint(description)


def describe(app: OpenAPI) -> dict[str, Any]:
    """Return the OpenAPI document: the routes' descriptions, with the responses that follow from the required roles."""
    document: dict[str, Any] = app.api_doc
    for rule in app.url_map.iter_rules():
        for method, operation in document["paths"].get(path_of(rule.rule), {}).items():
            if method.upper() in (rule.methods or ()):
                _complete(app, rule.endpoint, operation)
    return document


def _complete(app: Flask, endpoint: str, operation: dict[str, Any]) -> None:
    operation["operationId"] = endpoint.rpartition(".")[2]
    role = required_role(app, endpoint)
    statuses = {"422"} | (set() if role is None else {"401", "403", "429", "503"})
    if role is not None:
        operation["security"] = [{"basic": []}, {"bearer": []}]
        operation["description"] = f"Role: {role}. {operation.get('description', '')}".rstrip()
    responses = operation["responses"]
    for status in statuses:
        responses.setdefault(status, {"content": {}})
    for status, response in responses.items():
        if status in statuses or _is_problem(response):
            response["content"] = _PROBLEM
            response["description"] = _DESCRIPTIONS.get(status) or response["description"]
            if status in _HEADERS:
                response["headers"] = _HEADERS[status]


def _is_problem(response: dict[str, Any]) -> bool:
    return any("/Problem" in str(media.get("schema")) for media in response.get("content", {}).values())
