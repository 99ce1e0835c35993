"""The one door to Keras and TensorFlow: seconds of import and 400 MB, so only a process that trains goes through it."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_keras() -> Any:
    """Import Keras on TensorFlow, without the messages that both print while they start.

    Returns: the module `keras`.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with _silent_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow  # noqa: PLC0415

            tensorflow.config.list_physical_devices()  # looks for a GPU now, while nobody reads the complaints
    import keras  # noqa: PLC0415

    keras.config.disable_interactive_logging()
    return keras


def load_tensorflow() -> Any:
    """Import TensorFlow, as quietly.

    Returns: the module `tensorflow`.
    """
    load_keras()
    import tensorflow  # noqa: PLC0415

    return tensorflow


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 nowhere for a moment: TensorFlow's C++ part logs there before any level applies."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
