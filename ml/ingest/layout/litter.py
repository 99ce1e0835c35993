"""Files and folders that computers put into any folder by themselves. No person means them, so nothing reports them."""

from collections.abc import Iterable

_NAMES = frozenset(
    {
        # Windows
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "system volume information",
        "thumbs.db",
        # macOS; most of its files are hidden
        "__macosx",
        "icon\r",
        "icon\n",  # the same, from a bucket: XML has no \r
        "network trash folder",
        "temporary items",
        # Linux
        "lost+found",
        # NAS: Synology, QNAP
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@sharebin",
        "@tmp",
        # programs for photos
        "picasa.ini",
        "zbthumbnail.info",
    }
)
_ENDS = ("@synoeastream", "@synoresource", "_$folder$")  # Synology's attributes; Hadoop's folders in buckets


# Windows puts these folders on a drive, but people also name classes so, as in the sorting of waste.
_PERHAPS_CLASSES = frozenset({"found.000", "recycled", "recycler"})


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or has a name that computers give. Case does not matter."""
    lowered = name.casefold()
    return lowered.startswith((".", "~$")) or lowered in _NAMES or lowered.endswith(_ENDS)


def is_litter_folder(name: str, content: Iterable[str]) -> bool:
    """Return whether a folder is litter, by its name, or by what Windows put into it.

    Args: content, the names of the files and folders in it.
    """
    return is_litter(name) or (is_perhaps_litter(name) and any(map(is_trace, content)))


def is_perhaps_litter(name: str) -> bool:
    """Return whether the name of a folder may be one of Windows or one of a class; what is in the folder decides."""
    return name.casefold() in _PERHAPS_CLASSES


def is_trace(name: str) -> bool:
    """Return whether a name is one that Windows gives in a folder of deleted or recovered files."""
    lowered = name.casefold()
    return lowered == "info2" or lowered.startswith("s-1-") or lowered.endswith(".chk")
