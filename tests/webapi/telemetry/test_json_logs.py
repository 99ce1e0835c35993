import json
import logging

from flask import Flask

from webapi.telemetry.json_logs import AccessFormatter, JsonFormatter


def record(message: object, *args: object) -> logging.LogRecord:
    return logging.LogRecord("webapi", logging.WARNING, __file__, 1, message, args, None)


def test_a_line_is_one_json_object_with_the_request_id(app: Flask) -> None:
    with app.test_request_context("/healthz", headers={"X-Request-ID": "abc"}):
        app.preprocess_request()
        entry = json.loads(JsonFormatter().format(record("two\nlines of %s", "text")))
    assert (entry["message"], entry["level"], entry["request_id"]) == ("two\nlines of text", "warning", "abc")


def test_a_line_outside_of_a_request_has_no_request_id() -> None:
    assert "request_id" not in json.loads(JsonFormatter().format(record("started")))


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError as error:
        line = record("failed")
        line.exc_info = (type(error), error, error.__traceback__)
    assert "ZeroDivisionError: why" in json.loads(JsonFormatter().format(line))["exception"]


def test_an_access_line_holds_the_path_without_the_query() -> None:
    atoms = {
        "{x-request-id}o": "abc",
        "h": "127.0.0.1",
        "m": "GET",
        "r": "GET /predictions?file=secret HTTP/1.1",
        "U": "/predictions",
        "q": "file=secret",
        "s": "200",
        "B": 12,
        "L": "0.250000",
    }
    line = AccessFormatter().format(record("%(r)s", atoms))
    entry = json.loads(line)
    assert (entry["path"], entry["status"], entry["duration_seconds"]) == ("/predictions", 200, 0.25)
    assert "secret" not in line
