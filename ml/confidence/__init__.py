"""Calibrated confidence of answers, and accuracy estimated from it."""
