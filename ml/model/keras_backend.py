"""The one door to Keras and TensorFlow: 15 seconds and 400 MB, so only the process that trains goes through it."""

import logging
import os
import warnings
from typing import Any


def load_keras() -> Any:
    """Import Keras on TensorFlow, without the C++ library's start-up messages.

    Returns: the module `keras`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras  # noqa: PLC0415
    return keras


def load_tensorflow() -> Any:
    """Import TensorFlow, quietly.

    Returns: the module `tensorflow`.
    """
    load_keras()
    import tensorflow  # noqa: PLC0415, ICN001

    return tensorflow
