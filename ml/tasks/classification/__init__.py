"""Classification: each image has one class. A softmax head on a backbone's features predicts it."""
