"""Backbones: networks without their classifier, what they compute of images, and how they are run."""
