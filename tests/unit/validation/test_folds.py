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


def test_folds_are_of_one_size_though_classes_are_rare() -> None:
    for label in (np.arange(1003) // 3, np.arange(7), np.zeros(12, int), np.random.default_rng(0).integers(0, 90, 502)):
        fold = assign_folds(label, 5, seed=3)
        sizes = np.bincount(fold, minlength=5)
        of_class = np.array([np.bincount(fold[label == name], minlength=5) for name in np.unique(label)])
        assert sizes.max() - sizes.min() <= 1
        assert (of_class.max(axis=1) - of_class.min(axis=1)).max() <= 1


@pytest.mark.parametrize("n_classes", [2, 99])
def test_folds_survive_a_corrected_label(n_classes: int) -> None:
    label = np.random.default_rng(0).integers(0, n_classes, 3000)
    corrected = label.copy()
    corrected[1234] = (label[1234] + 1) % n_classes
    before, after = assign_folds(label, 5, seed=0), assign_folds(corrected, 5, seed=0)
    assert np.mean(before != after) < 0.05
    assert np.mean(before != assign_folds(label, 5, seed=1)) > 0.7


def test_folds_survive_another_near_duplicate() -> None:
    label, group = np.arange(3000) % 3, np.arange(3000)
    merged = np.where(group == 1236, 30, group)
    assert np.mean(assign_folds(label, 5, 0, group) != assign_folds(label, 5, 0, merged)) < 0.05


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


def test_hold_out_takes_its_share_of_every_class_and_splits_no_group() -> None:
    rng = np.random.default_rng(0)
    for group in (np.arange(1000), rng.integers(400, size=1000)):
        label = group % 4
        few, many = (hold_out(label, group, share, 7) for share in (0.2, 0.5))
        for held_out, share in ((few, 0.2), (many, 0.5)):
            for k in range(4):
                assert np.mean(held_out[label == k]) == pytest.approx(share, abs=0.05)
            assert not set(group[held_out]) & set(group[~held_out])
        assert (many | ~few).all()
        assert (hold_out(label, group, 0.2, 8) != few).any()


def test_hold_out_takes_its_share_over_many_small_classes() -> None:
    pairs = hold_out(np.arange(2000) // 2, np.arange(2000), 0.2, 7)
    assert np.mean(pairs) == pytest.approx(0.2, abs=0.03)
    # The only row of a class is needed to learn it.
    assert not hold_out(np.arange(50), np.arange(50), 0.5, 7).any()


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_many_classes_are_held_out_whole_and_leave_every_class(seed: int) -> None:
    """Twenty drivers, each photographed in every class; one class was seen of two drivers alone."""
    driver = np.repeat(np.arange(20), 50)
    label = np.tile(np.arange(50) % 10, 20)
    label[driver < 2] = 10
    for share in (0.2, 0.9):
        held_out = hold_out(label, driver, share, seed)
        assert not set(driver[held_out]) & set(driver[~held_out])
        assert np.mean(held_out) == pytest.approx(share, abs=0.1)
        assert set(label[~held_out]) == set(range(11))
    # A share of less than one driver holds out one.
    assert len(set(driver[hold_out(label, driver, 0.001, seed)])) == 1


def duplicates_of(rows: np.ndarray, threshold: float) -> np.ndarray:
    return find_duplicates(lambda: iter([rows]), lambda numbers: rows[numbers], len(rows), threshold, seed=0)


def test_every_exact_copy_is_found() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 64)).astype(np.float32)
    group = duplicates_of(np.concatenate([rows, rows]), 0.95)
    assert (group[:1000] == group[1000:]).all()
    assert len(np.unique(group)) == 1000  # Others are not alike, however long their vectors are.


def pairs_at(similarity: float) -> np.ndarray:
    """Return 1,000 rows, and 1,000 more, each at this cosine similarity to one of the first."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1000, 256))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    across = rng.standard_normal((1000, 256))
    across -= (across * rows).sum(axis=1, keepdims=True) * rows
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.concatenate([rows, similarity * rows + np.sqrt(1 - similarity**2) * across]).astype(np.float32)


def test_pictures_that_are_nearly_the_same_are_found() -> None:
    group = duplicates_of(pairs_at(0.96), 0.95)
    assert (group[:1000] == group[1000:]).mean() > 0.99
    assert len(np.unique(group)) > 950  # Others are not alike.


def test_pictures_that_are_less_alike_are_not_however_long_their_features_are() -> None:
    group = duplicates_of(10 * pairs_at(0.85), 0.95)
    assert (group[:1000] == group[1000:]).mean() < 0.01
