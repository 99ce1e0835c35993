"""Classification: one class per image, by a softmax head on a backbone's features."""
