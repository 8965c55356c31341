"""Progress in a log: a line every half minute with the rate and the time left, and one at the end."""

import pytest

from gap_ensemble.messages.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that have passed, in a list, to be changed."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_lines_come_every_half_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, "Reading", done=20) as reading:
        for _ in range(8):
            clock[0] += 10
            reading.add(10)
    assert capsys.readouterr().out.splitlines() == [
        "Reading: 50 of 100 pictures, 1.0 a second, 00:50 left",
        "Reading: 80 of 100 pictures, 1.0 a second, 00:20 left",
        "Reading: 100 of 100 pictures, 1.0 a second",
    ]


def test_workers_are_counted_and_a_failure_ends_without_a_line(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with Progress(10, "Reading", "rows", n_workers=lambda: 2) as reading:
            clock[0] += 31
            reading.add(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capsys.readouterr().out == "Reading: 5 of 10 rows, 0.2 a second, 2 workers\n"


def test_a_slow_start_says_nothing_of_the_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, "Training", "epochs") as training:
        clock[0] += 40
        for _ in range(4):
            training.add(10)
            clock[0] += 10
        training.total = training.done
    assert capsys.readouterr().out.splitlines() == [
        "Training: 10 of 100 epochs, 0.2 a second",
        "Training: 40 of 100 epochs, 0.6 a second, 01:00 left",
        "Training: 40 of 40 epochs, 0.5 a second",
    ]
