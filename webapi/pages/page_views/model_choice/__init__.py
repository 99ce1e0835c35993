"""Pages of model versions and their trainings."""
