"""Keras, imported without TensorFlow's start-up messages, which say nothing that a user can act on.

    from gap_ensemble.networks.quiet_keras import keras

TensorFlow writes them from C++ before it reads any setting. They are held back, and shown only if the import fails.
"""

import logging
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

with tempfile.TemporaryFile() as _held_back:
    sys.stderr.flush()
    _stderr = os.dup(2)
    os.dup2(_held_back.fileno(), 2)
    try:
        import keras
    except BaseException:
        _held_back.seek(0)
        os.write(_stderr, _held_back.read())
        raise
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)

__all__ = ["keras"]
