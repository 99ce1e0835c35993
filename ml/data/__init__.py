"""The rules of the data: splits (pool and evaluation set), folds, selections and snapshots."""
