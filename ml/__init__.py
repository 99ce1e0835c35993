"""Mycoflow's library: the catalog, models and their quality, and the steps of a night. Start with ml.cycle."""
