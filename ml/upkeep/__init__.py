"""Backup, restore and purge."""
