"""Classification: each image has one class. A softmax head on a backbone's features predicts it."""

NAME = "classification"
FILES = ("model.onnx", "head.npz")  # of a version, besides its card
