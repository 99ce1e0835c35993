"""EfficientNet-Lite0: its architecture, its weights, and the same network in Keras and as ONNX."""
