"""Files and folders that computers put into any folder by themselves. No person means them, so nothing reports them."""

_NAMES = frozenset(
    {
        # Windows
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "found.000",
        "recycled",
        "recycler",
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


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or has a name that computers give. Case does not matter."""
    lowered = name.casefold()
    return lowered.startswith((".", "~$")) or lowered in _NAMES or lowered.endswith(_ENDS)
