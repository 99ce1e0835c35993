"""Folders of images, one sub-folder per class: what is in them, and what only lies there."""
