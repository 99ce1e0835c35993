"""The messages of the pages and their translations.

    python -m webapi.pages.page_words.message_catalogs

collects the messages from code and templates, adds new ones to each `messages.po`, drops those that are gone, and
writes the `messages.mo` that the service reads. Both are committed: an installation needs no compiler.
"""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from webapi.pages.page_words.languages import LANGUAGES, TRANSLATIONS

_SOURCES = [("**/templates/**.html", "jinja2"), ("**.py", "python")]
_OPTIONS = {"**/templates/**.html": {"trimmed": "true", "silent": "false"}}
_KEYWORDS = {"_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
_NEVER_MIND = datetime(2026, 1, 1, tzinfo=UTC)  # git knows when; a date here would change every file
SOURCE_LANGUAGE = "en"


def collect() -> Catalog:
    """Return all messages of code and templates, without translations."""
    template = Catalog()
    found = extract_from_dir(Path(__file__).parents[1], method_map=_SOURCES, options_map=_OPTIONS, keywords=_KEYWORDS)
    for name, _line, message, _comments, _context in found:
        template.add(message, locations=[(name, 0)])
    return template


def read(language: str) -> Catalog:
    """Return the translations of a language."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language)


def compile_catalog(catalog: Catalog) -> bytes:
    """Return the file that the service reads."""
    buffer = BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def path_of(language: str) -> Path:
    """Return the file of a language that people edit."""
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def translated_languages() -> list[str]:
    """Return the languages that need translations."""
    return [language for language in LANGUAGES if language != SOURCE_LANGUAGE]


def main() -> None:
    """Bring all languages up to date."""
    for language in translated_languages():
        path = path_of(language)
        catalog = read(language) if path.exists() else Catalog(locale=language, project="Mycoflow", fuzzy=False)
        catalog.update(collect(), no_fuzzy_matching=True)
        catalog.obsolete.clear()
        catalog.creation_date = catalog.revision_date = _NEVER_MIND
        with path.open("wb") as file:
            write_po(file, catalog, width=120, sort_output=True, omit_header=False, ignore_obsolete=True)
        path.with_suffix(".mo").write_bytes(compile_catalog(catalog))


if __name__ == "__main__":
    main()
