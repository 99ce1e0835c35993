"""Classification: one class per image, by a softmax head on a backbone's features."""

NAME = "classification"
FILES = ("model.onnx", "head.npz")  # of a version, besides its card
