"""The rules of the data: who belongs to the pool or the evaluation set, folds, selections, snapshots."""
