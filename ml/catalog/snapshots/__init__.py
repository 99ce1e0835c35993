"""Stored snapshots and their contents."""
