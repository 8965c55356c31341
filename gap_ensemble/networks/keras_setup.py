"""Keras as this project uses it, whatever a user's machine is set to.

    from gap_ensemble.networks.keras_setup import keras

- The backend is JAX where it can use an NVIDIA GPU, and TensorFlow, whose graphs OpenVINO reads, elsewhere. Numbers are
  float32, and channels come last. `~/.keras/keras.json` and the environment variables of another project do not count,
  because they would change features. `KERAS_HOME` still says where Keras keeps weights that it has downloaded.
- TensorFlow's start-up messages are held back. They come from C++ before it reads any setting, and say nothing that a
  user can act on. They are shown if the import fails.
"""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gap_ensemble.networks.gpus import computes_on_gpus

BACKEND = "jax" if computes_on_gpus() else "tensorflow"
# A compiled program gives the same bytes in every run. XLA still chooses its kernels by measuring them: with those that
# it takes without, ResNet50 is some forty times slower.
XLA_FLAGS = "--xla_gpu_exclude_nondeterministic_ops=true"

# Each of these changes what Keras computes, or how long it trains.
IGNORED_VARIABLES = (
    "KERAS_BACKEND",
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "TF_USE_LEGACY_KERAS",
)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back what is written to the standard error stream, and show it only after a failure."""
    with tempfile.TemporaryFile() as messages:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _without_settings_of_the_user() -> Iterator[None]:
    """Give Keras an empty folder for its settings, as it reads them once, when it is imported."""
    home = os.environ.get("KERAS_HOME")
    for variable in IGNORED_VARIABLES:
        os.environ.pop(variable, None)
    os.environ["KERAS_BACKEND"] = BACKEND  # Of programs that this one starts, too.
    if BACKEND == "jax":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}".strip()
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Or it would take most of the memory at once.
    with tempfile.TemporaryDirectory() as empty:
        os.environ["KERAS_HOME"] = empty
        try:
            yield
        finally:
            if home is None:
                del os.environ["KERAS_HOME"]
            else:
                os.environ["KERAS_HOME"] = home


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

with held_back(), _without_settings_of_the_user():
    import keras

    if BACKEND == "jax":
        _ = keras.src.utils.module_utils.tensorflow.available  # Keras imports it later, to seed it; its messages, now.

# Somebody may have imported Keras before.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
if keras.config.backend() != BACKEND:
    raise ImportError("Keras was imported with another backend before gap_ensemble.networks.keras_setup")


def _home() -> Path:
    """Return Keras's own folder, by the rule of `keras/src/backend/config.py`, and make it if possible."""
    if "KERAS_HOME" in os.environ:
        home = Path(os.environ["KERAS_HOME"]).expanduser()
    else:
        base = Path.home()
        home = (base if os.access(base, os.W_OK) else Path("/tmp")) / ".keras"  # noqa: S108 - Keras's own choice
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    return home


# While Keras was imported, its folder was the empty one, which is gone.
keras.src.backend.config._KERAS_DIR = str(_home())


def weights_folder() -> Path:
    """Return the folder in which Keras looks for its ImageNet weights.

    That is `models` in its own folder; where that one can't be written, in a folder among the temporary files. The rule
    is that of `keras.utils.get_file`.
    """
    home = _home()
    if not os.access(home, os.W_OK):
        temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()  # noqa: S108 - Keras's own choice
        home = Path(temporary, ".keras")
    return home / "models"


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and Keras, and switch on deterministic operations."""
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def dtype_policy(policy: str) -> Iterator[None]:
    """Build what is built meanwhile under a policy of precision, such as `mixed_bfloat16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the device has no memory for what was asked for, by TensorFlow's error or by JAX's."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


__all__ = ["BACKEND", "dtype_policy", "held_back", "is_out_of_memory", "keras", "make_deterministic", "weights_folder"]
