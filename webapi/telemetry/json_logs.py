"""Write each log line as one JSON object with the id of its request. Query strings and bodies are never logged."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import has_request_context

from webapi.request_ids import HEADER, current_request_id


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, message, request id and exception as JSON."""
        return json.dumps(self.entry(record), ensure_ascii=False)

    def entry(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the fields of the line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context():
            entry["request_id"] = current_request_id()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return entry


class AccessFormatter(JsonFormatter):
    """Formats gunicorn's access record, whose arguments are gunicorn's log atoms.

    Source: gunicorn settings, access_log_format.
    """

    def entry(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the fields of the line: client, request and response."""
        atoms = record.args
        if not isinstance(atoms, Mapping):
            return super().entry(record)
        return {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": "info",
            "logger": record.name,
            "request_id": atoms[f"{{{HEADER.lower()}}}o"],
            "remote_address": atoms["h"],
            "method": atoms["m"],
            "path": atoms["U"],
            "status": int(str(atoms["s"])),
            "response_bytes": atoms["B"],
            "duration_seconds": float(str(atoms["L"])),
        }
