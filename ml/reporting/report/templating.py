"""The Jinja environment of every page's templates."""

from jinja2 import BaseLoader, Environment, StrictUndefined

from ml.reporting.report import formats, words
from ml.reporting.serving_notices import describe_serving


def page_environment(loader: BaseLoader) -> Environment:
    """Return an environment that escapes values, raises on unknown names, and has filters that format figures."""
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": formats.percent,
        "in_unit": formats.in_unit,
        "moment": formats.moment,
        "lasted": formats.lasted,
    }
    environment.globals |= {"words": words, "counted": formats.count, "describe_serving": describe_serving}
    return environment
