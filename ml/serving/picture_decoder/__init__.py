"""Decode pictures that strangers sent in a process of its own, which a picture may kill without harm."""
