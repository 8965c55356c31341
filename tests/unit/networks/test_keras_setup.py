"""What Keras and TensorFlow say when they start."""

import os

import pytest

from gap_ensemble.networks.keras_setup import held_back


def test_messages_are_held_back_and_shown_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back():
        os.write(2, b"noise\n")
    assert capfd.readouterr().err == ""

    def fail() -> None:
        with held_back():
            os.write(2, b"what went wrong\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capfd.readouterr().err == "what went wrong\n"
