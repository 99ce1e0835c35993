"""Answering requests, without HTTP."""
