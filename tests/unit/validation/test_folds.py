"""Folds are stratified and keep groups together; rows that would give others away share a group."""

import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.validation.duplicates import find_duplicates
from gap_ensemble.validation.folds import assign_folds, hold_out, validation_folds
from gap_ensemble.validation.groups import connected_groups


def test_every_class_is_spread_evenly() -> None:
    label = np.repeat([0, 1, 2], [53, 17, 8])
    fold = assign_folds(label, 5, seed=0)
    for k in range(5):
        assert np.bincount(label[fold == k], minlength=3).tolist() == pytest.approx([10.6, 3.4, 1.6], abs=1)


@pytest.mark.parametrize("share", [0.02, 0.9], ids=["few groups", "most rows in groups"])
@pytest.mark.parametrize("n_folds", [1, 5])
def test_a_group_stays_in_one_fold_and_the_folds_stay_even(share: float, n_folds: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 600)
    group = np.where(rng.random(600) < share, rng.integers(0, 60, 600), np.arange(600) + 1000)
    fold = assign_folds(label, n_folds, 0, group)
    for number in np.unique(group):
        assert len(np.unique(fold[group == number])) == 1
    parts = np.bincount(fold + 1)[-n_folds:]
    assert parts.min() > 600 / max(n_folds, 5) * 0.8
    assert parts.max() < 600 / max(n_folds, 5) * 1.2


def test_groups_are_connected_through_either_column() -> None:
    patients = ["a", "a", "b", "", "", "c"]
    duplicates = ["", "1", "1", "2", "2", ""]
    assert connected_groups([patients, duplicates]).tolist() == [0, 0, 0, 1, 1, 2]


def test_numbers_of_groups_and_of_single_rows_never_meet() -> None:
    for names in (["4", "", "", "4", ""], ["0", "1", "", "", "2"], ["1", "", "0"]):
        group = connected_groups([names])
        for name in set(names) - {""}:
            members = [group[i] for i, other in enumerate(names) if other == name]
            assert len(set(members)) == 1
        assert len(set(group)) == len(set(names) - {""}) + names.count("")


def test_too_few_groups_for_the_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.folds: found 5, but the 40 training rows are 3 groups"):
        validation_folds(np.zeros(40, int), np.arange(40) % 3, np.zeros(40, bool), 5, 0)


def test_rows_that_a_network_was_fine_tuned_on_never_validate_nor_do_their_group_mates() -> None:
    group = np.arange(100) // 2
    fine_tuned_on = np.zeros(100, bool)
    fine_tuned_on[:40:2] = True
    fold = validation_folds(np.arange(100) % 2, group, fine_tuned_on, 5, 0)
    assert (fold[:40] == -1).all()
    assert (fold[40:] >= 0).all()


def test_equal_pictures_are_held_out_together() -> None:
    content = np.array([f"{i // 2:04d}" for i in range(200)])
    held_out = hold_out(np.arange(200) // 2 % 2, content, 0.2, 0)
    assert (held_out[::2] == held_out[1::2]).all()
    assert held_out.mean() == pytest.approx(0.2, abs=0.02)


def test_more_held_out_pictures_hold_those_of_fewer_and_every_class_gives_its_share() -> None:
    rng = np.random.default_rng(0)
    content = np.array([f"{number:032x}" for number in rng.integers(800, size=1000)])
    label = np.array([int(text, 16) % 4 for text in content])
    few, many = (hold_out(label, content, share, 7) for share in (0.2, 0.5))
    for held_out, share in ((few, 0.2), (many, 0.5)):
        for k in range(4):
            assert np.mean(held_out[label == k]) == pytest.approx(share, abs=0.05)
    assert (many | ~few).all()
    assert (hold_out(label, content, 0.2, 8) != few).any()
    # Of two pictures a class, none has a fifth to spare, but all of them together have; the only one always trains.
    assert np.mean(hold_out(np.arange(2000) // 2, np.arange(2000).astype(str), 0.2, 7)) == pytest.approx(0.2, abs=0.03)
    assert not hold_out(np.arange(50), np.arange(50).astype(str), 0.5, 7).any()


def duplicates_of(rows: np.ndarray, threshold: float) -> np.ndarray:
    return find_duplicates(lambda: iter([rows]), lambda numbers: rows[numbers], len(rows), threshold, seed=0)


def test_every_exact_copy_is_found() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 64)).astype(np.float32)
    group = duplicates_of(np.concatenate([rows, rows]), 0.95)
    assert (group[:1000] == group[1000:]).all()


def test_pictures_that_are_nearly_the_same_are_found() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1000, 256))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    across = rng.standard_normal((1000, 256))
    across -= (across * rows).sum(axis=1, keepdims=True) * rows
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    near = 0.96 * rows + np.sqrt(1 - 0.96**2) * across  # At a cosine similarity of 0.96.
    group = duplicates_of(np.concatenate([rows, near]).astype(np.float32), 0.95)
    assert (group[:1000] == group[1000:]).mean() > 0.99
    assert len(np.unique(group)) > 950  # Others are not alike.
