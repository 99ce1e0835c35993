"""Backbones: networks without their classifier, the features that they compute from images, and how to run them."""
