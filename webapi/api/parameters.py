"""Parameters and bodies of several routes."""

import re
from typing import Any, ClassVar, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from webapi.problems import refuse_invalid


def _check_digits(value: object) -> object:
    """Accept only ASCII digits. Python also reads digits of other scripts, underscores and true as integers."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value)):
        raise ValueError("expected a positive integer")
    return value


DigitsOnly = BeforeValidator(_check_digits)


class Strict(BaseModel):
    """Data from a client. Unknown names are refused; otherwise they would be ignored silently."""

    model_config = ConfigDict(extra="forbid")


class Query(Strict):
    """Parameters in a URL. flask-openapi3 reads the schema at every request, so it is cached."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return pydantic's schema."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        if "_schema" not in cls.__dict__:
            cls._schema = super().model_json_schema()
        return cls._schema

    _schema: ClassVar[dict[str, Any]]


_Model = TypeVar("_Model", bound=BaseModel)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body for `read_body`. The model must not contain other models."""
    content = {"schema": model.model_json_schema()}
    return {
        "required": True,
        "content": dict.fromkeys(("application/json", "application/x-www-form-urlencoded"), content),
    }


def read_body(model: type[_Model]) -> _Model:
    """Read the body of the current request, a JSON object or a form.

    Raises: ProblemError, 422.
    """
    values = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        refuse_invalid(error)
