"""The model: VGG16's trunk and a softmax head, from weights to a registered version that is served."""
