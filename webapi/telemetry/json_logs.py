"""One JSON object per log line, with the id of the request it belongs to. No query strings, no bodies."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import has_request_context

from webapi.request_ids import HEADER, current_request_id


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, level, logger, message, request id and exception."""
        return json.dumps(self.entry(record), ensure_ascii=False)

    def entry(self, record: logging.LogRecord) -> dict[str, object]:
        """What the line says."""
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
    """gunicorn's access record, whose arguments are its atoms, as fields.

    Source: gunicorn settings, access_log_format.
    """

    def entry(self, record: logging.LogRecord) -> dict[str, object]:
        """What the line says: who asked what, and how it went."""
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
