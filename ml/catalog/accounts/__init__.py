"""Accounts, their tokens, and the personal data of their owners."""
