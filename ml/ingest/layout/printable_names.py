"""Texts that can be stored and printed whatever they contain."""


def printable(text: str) -> str:
    """Return a text with escapes for what can be neither stored nor printed: NUL, and bytes that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
