"""Mutation testing: count the faults in critical code that the tests notice."""
