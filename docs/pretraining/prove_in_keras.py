"""Load the folded weights into keras.applications.VGG16, and compare its features with the unfolded network's.

python prove_in_keras.py reference.npz
"""

import sys

import keras
import numpy as np


def main():
    reference = np.load(sys.argv[1])
    network = keras.applications.VGG16(include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3))
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    for i, layer in enumerate(convolutions):
        kernel = reference[f"kernel_{i}"]
        layer.set_weights([kernel[:, :, ::-1] if i == 0 else kernel, reference[f"bias_{i}"]])
    pixels = keras.applications.vgg16.preprocess_input(reference["images"].astype(np.float32))
    found, expected = network.predict(pixels, verbose=0), reference["features"]
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    print(f"keras.applications.VGG16 against the unfolded network, {len(found)} images: {error.max():.1e}")


if __name__ == "__main__":
    main()
