"""Thirty nights of the whole system on a clock of its own, with a world that changes in between."""
