"""Challengers in shadow: their answers to uploads, beside the champion's."""
