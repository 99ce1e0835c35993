"""Fit the head of a classifier, and what its answers are worth."""
