"""No picture is computed twice, and the features are those of a run from nothing. Forward passes are counted."""

import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.extraction import picture_features
from gap_ensemble.extraction.devices import Device, find_device
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features, fingerprint
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.images.decoding import check_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import code_of, open_network
from gap_ensemble.params import Backbone
from gap_ensemble.storage.store import NetworkStore

N_PICTURES, SIZE, N_FEATURES = 50, 16, 40


class Counting:
    """Computes next to nothing, where an engine would, and counts."""

    input_size, n_threads = SIZE, 2
    batch_size = 1
    n_passes = n_opened = 0
    dies_after = 10**9

    def __init__(self, *_: Any):
        Counting.n_opened += 1

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        if Counting.n_passes >= Counting.dies_after:
            raise KeyboardInterrupt
        Counting.n_passes += 1
        return np.sqrt(pictures.reshape(len(pictures), -1)[:, :N_FEATURES].astype(np.float32))


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(picture_features, "open_engine", Counting)
    for name, value in (("n_passes", 0), ("n_opened", 0), ("dies_after", 10**9)):
        monkeypatch.setattr(Counting, name, value)
    return Counting


def draw(raw: Path, number: int) -> Picture:
    path = raw / f"{number}.png"
    pixels = np.random.default_rng(number).integers(256, size=(20, 20, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return Picture(path.name, check_picture(path).md5)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    (tmp_path / "raw").mkdir()
    return [draw(tmp_path / "raw", number) for number in range(N_PICTURES)]


@pytest.fixture
def job(tmp_path: Path) -> ExtractJob:
    entry = Backbone(weights="random", backbone="SmallConvNet", input_size=SIZE)
    return ExtractJob("Small", entry, tmp_path / "raw", find_device("float32"))


def features(job: ExtractJob, pictures: Sequence[Picture], folder: Path) -> bytes:
    rows = extract_features(job, pictures, folder)
    return rows.read(0, rows.n_rows).tobytes()


def test_a_second_run_loads_no_network(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    """So does a corrected label, which is no part of what a row goes by."""
    first = features(job, pictures, tmp_path)
    assert (counting.n_passes, counting.n_opened) == (N_PICTURES, 1)
    assert features(job, pictures, tmp_path) == first
    assert (counting.n_passes, counting.n_opened) == (N_PICTURES, 1)


def test_renamed_files_in_another_order_run_no_network(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    first = features(job, pictures, tmp_path)
    for picture in pictures:
        (job.raw / picture.file).rename(job.raw / f"renamed_{picture.file}")
    renamed = [Picture(f"renamed_{picture.file}", picture.md5) for picture in reversed(pictures)]
    again = np.frombuffer(features(job, renamed, tmp_path), np.float32).reshape(N_PICTURES, -1)
    assert again[::-1].tobytes() == first
    assert counting.n_passes == N_PICTURES


def test_ten_more_pictures_compute_ten(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    features(job, pictures, tmp_path / "store")
    more = [draw(job.raw, number) for number in range(100, 110)]
    mixed = more[:5] + pictures + more[5:]
    incremental = features(job, mixed, tmp_path / "store")
    assert counting.n_passes == N_PICTURES + 10
    assert features(job, mixed, tmp_path / "other store") == incremental


def test_a_replaced_test_set_computes_the_new_ones(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    train, test = pictures[:30], pictures[30:]
    features(job, train + test, tmp_path)
    hidden = [draw(job.raw, number) for number in range(200, 207)]
    features(job, train + hidden, tmp_path)
    assert counting.n_passes == N_PICTURES + 7


def test_a_picture_that_stands_twice_is_computed_once(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    features(job, [*pictures, *pictures[:9]], tmp_path)
    assert counting.n_passes == N_PICTURES


def test_an_interrupted_run_keeps_what_it_has_and_says_so(
    job: ExtractJob,
    pictures: list[Picture],
    counting: type[Counting],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picture_features, "CHUNK", 4)
    monkeypatch.setattr(counting, "dies_after", 30)
    with pytest.raises(KeyboardInterrupt, match=r"Small keeps (\d+) of 50 pictures; `dvc repro` goes on") as stopped:
        features(job, pictures, tmp_path / "store")
    n_kept = int(str(stopped.value).split()[2])
    assert n_kept >= 12
    before = -1
    while before != counting.n_passes:  # What was begun is still computed, and counted.
        before = counting.n_passes
        time.sleep(0.2)
    monkeypatch.setattr(counting, "dies_after", 10**9)
    resumed = features(job, pictures, tmp_path / "store")
    assert counting.n_passes - before == N_PICTURES - n_kept
    assert features(job, pictures, tmp_path / "other store") == resumed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no such network")])
def test_nothing_is_said_to_be_kept_where_nothing_is(
    error: BaseException,
    job: ExtractJob,
    pictures: list[Picture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(picture_features, "open_engine", Mock(side_effect=error))
    with pytest.raises((KeyboardInterrupt, UserError)) as stopped:
        features(job, pictures, tmp_path)
    assert "keeps" not in f"{stopped.value}{capsys.readouterr().out}"


def test_rows_that_are_damaged_on_the_disk_are_computed_again(
    job: ExtractJob,
    pictures: list[Picture],
    counting: type[Counting],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = features(job, pictures, tmp_path)
    (path,) = tmp_path.glob("*/rows")
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(bytes(200))
    assert features(job, pictures, tmp_path) == first
    assert N_PICTURES < counting.n_passes <= N_PICTURES + 3
    assert "damaged on the disk; computed again" in capsys.readouterr().out


def test_a_picture_that_has_changed_since_link_is_refused(
    job: ExtractJob, pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_features, "open_engine", Counting)
    draw(job.raw, 300)
    (job.raw / "300.png").replace(job.raw / pictures[7].file)
    with pytest.raises(UserError, match=r"7\.png: is not the picture that stage link has checked; run `dvc repro`"):
        features(job, pictures, tmp_path)


def test_pictures_of_sixteen_bits_are_read_by_the_grey_scale_of_the_data_set(
    job: ExtractJob, counting: type[Counting], tmp_path: Path
) -> None:
    job.raw.mkdir()
    rows = {}
    # Darker than the scale, as the range of the picture itself is not to decide.
    grey = np.random.default_rng(0).integers(100, size=(SIZE, SIZE)).astype(np.uint16)
    for name, values in (("of 8 bits", grey.astype(np.uint8)), ("of 12 bits", grey * 16)):
        path = job.raw / f"{name}.png"
        Image.fromarray(values).save(path)
        scaled = replace(job, grey_scale=Scale(0, 255 * 16))
        rows[name] = features(scaled, [Picture(path.name, check_picture(path).md5)], tmp_path)
    assert rows["of 12 bits"] == rows["of 8 bits"]
    assert counting.n_passes == 2


def test_flip_is_the_mean_over_a_picture_and_its_mirror_image(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    plain = np.frombuffer(features(job, pictures[:1], tmp_path), np.float32)
    path = job.raw / "mirrored.png"
    with Image.open(job.raw / pictures[0].file) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    mirrored = np.frombuffer(features(job, [Picture(path.name, check_picture(path).md5)], tmp_path), np.float32)
    flipped = np.frombuffer(features(replace(job, flip=True), pictures[:1], tmp_path), np.float32)
    np.testing.assert_allclose(flipped, (plain + mirrored) / 2, rtol=1e-6)
    assert counting.n_passes == 4


def test_a_picture_that_is_gone_since_link_is_named(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    (job.raw / pictures[3].file).unlink()
    with pytest.raises(UserError, match=r"3\.png: .*; it was whole in stage link: run `dvc repro` again$"):
        features(job, pictures, tmp_path)
    assert counting.n_opened == 1


def test_what_another_run_added_meanwhile_is_not_computed_again(
    job: ExtractJob, pictures: list[Picture], counting: type[Counting], tmp_path: Path
) -> None:
    first = features(job, pictures, tmp_path)
    store = NetworkStore.missing
    asked: list[int] = []

    def missing(self: NetworkStore, keys: Sequence[str]) -> set[str]:
        asked.append(len(keys))
        return set(keys) if len(asked) == 1 else store(self, keys)  # As before the other run had finished.

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkStore, "missing", missing)
        assert features(job, pictures, tmp_path) == first
    assert len(asked) == 2
    assert (counting.n_passes, counting.n_opened) == (N_PICTURES, 1)


def test_nothing_is_left_behind_when_the_network_cannot_be_loaded(
    job: ExtractJob, pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise UserError("mine.weights.h5: does not fit")

    monkeypatch.setattr(picture_features, "open_engine", refuse)
    with pytest.raises(UserError, match="does not fit"):
        features(job, pictures, tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("change", ["precision", "flip", "units", "grey scale", "input size", "code"])
def test_what_changes_features_changes_the_fingerprint(
    change: str, job: ExtractJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gap_ensemble.images.grey import Scale

    def fingerprint_of(job: ExtractJob) -> str:
        return fingerprint(open_network(job.name, job.entry), job)

    before, values = fingerprint_of(job), dict(vars(job))
    assert fingerprint_of(ExtractJob(**values)) == before
    if change in ("precision", "units"):
        device = vars(job.device) | {change: "bfloat16"}
        values["device"] = Device(**device)
    elif change == "flip":
        values["flip"] = True
    elif change == "grey scale":
        values["grey_scale"] = Scale(0, 4095)
    elif change == "input size":
        values["entry"] = job.entry.model_copy(update={"input_size": 24})
    else:
        monkeypatch.setattr(picture_features, "code_of", lambda source: code_of(source) + "1")
    assert fingerprint_of(ExtractJob(**values)) != before


def test_comments_are_no_code() -> None:
    assert code_of('def f():\n    """Say it."""\n    return 1  # one\n') == code_of("def f():\n    return 1\n")
    assert code_of("def f():\n    return 1\n") != code_of("def f():\n    return 2\n")


def test_a_job_can_be_sent_to_another_process(job: ExtractJob) -> None:
    assert pickle.loads(pickle.dumps(job)) == job


def test_a_worker_on_another_device_refuses(job: ExtractJob) -> None:
    other = Device(**vars(job.device) | {"units": "x86_64 avx2 amx_bf16"})
    with pytest.raises(UserError, match=r"Small: a worker would compute on .* which gives other features"):
        ExtractJob(**vars(job) | {"device": other}).worker()


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
