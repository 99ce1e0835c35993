"""MLflow: runs, model versions and their files."""
