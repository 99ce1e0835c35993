"""Evaluation of model versions, and the decision whether one goes into production."""
