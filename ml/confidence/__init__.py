"""Calibrate the confidence of answers, and estimate accuracy from it."""
