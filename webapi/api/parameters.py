"""Parameters that several routes have."""

import re
from typing import Any, ClassVar, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from webapi.problems import refuse_invalid


def _check_digits(value: object) -> object:
    """Python takes more for an integer than HTTP clients do: other scripts' digits, underscores, true."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value)):
        raise ValueError("expected a positive integer")
    return value


DigitsOnly = BeforeValidator(_check_digits)


class Strict(BaseModel):
    """What a client sends: a name that is not known is refused, since it would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid")


class Query(Strict):
    """Parameters in a URL. flask-openapi3 asks for the schema at every request, and so it is made once."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As pydantic makes it."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        if "_schema" not in cls.__dict__:
            cls._schema = super().model_json_schema()
        return cls._schema

    _schema: ClassVar[dict[str, Any]]


_Model = TypeVar("_Model", bound=BaseModel)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """How the document describes a body that `read_body` reads. For models without models inside."""
    content = {"schema": model.model_json_schema()}
    return {
        "required": True,
        "content": dict.fromkeys(("application/json", "application/x-www-form-urlencoded"), content),
    }


def read_body(model: type[_Model]) -> _Model:
    """The body of the request in progress, a JSON object or a form.

    Raises: ProblemError, 422.
    """
    values = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        refuse_invalid(error)
