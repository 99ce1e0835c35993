"""Accounts, their tokens, and what is stored about their owners."""
