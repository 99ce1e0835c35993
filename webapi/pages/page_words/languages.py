"""The languages of the pages: the one that was chosen, else the one that the browser asks for."""

from pathlib import Path

from flask import Flask, request
from flask_babel import Babel

LANGUAGES = {"en": "English", "fr": "Français"}
LANGUAGE_COOKIE = "mycoflow_language"
TRANSLATIONS = Path(__file__).parents[1] / "translations"


def init_app(app: Flask) -> None:
    """Let the pages of an application speak several languages."""
    Babel(
        app,
        default_translation_directories=str(TRANSLATIONS),
        default_timezone="UTC",  # a script shows times in the reader's zone
        locale_selector=choose_language,
    )


def choose_language() -> str:
    """Return the language of this request's answer."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES, default="en") or "en"
