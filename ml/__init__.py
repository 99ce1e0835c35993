"""Mycoflow's library: the catalog, the model, its quality, and the steps of a night. See ml.cycle for the story."""
