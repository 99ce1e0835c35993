"""Ingesting images: sources, validation, duplicates, and the guard against leaks between the splits."""
