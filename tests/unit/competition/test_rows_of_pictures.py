"""Rows of several pictures, how they are pooled, and columns of tables as features."""

from pathlib import Path

import pytest
from made_competitions import Tables, found, group_of, table, target_of

from gap_ensemble.competition.found import Found
from gap_ensemble.messages.errors import UserError


def files_of(result: Found, split: str = "train") -> dict[str, list[str]]:
    pictures = result.pictures[result.pictures["split"] == split]
    return pictures.groupby("id")["file"].agg(list).to_dict()


COLOURS = ["blue", "green", "red", "yellow"]
CHANNELS = [
    *(f"train/id-{i}_{colour}.png" for i in range(6) for colour in COLOURS),
    *(f"test/id-{i}_{colour}.png" for i in (8, 9) for colour in COLOURS),
]
CHANNEL_TABLES: Tables = {
    "train.csv": table("Id,Target", [(f"id-{i}", f"{i % 3} 7") for i in range(6)]),
    "sample_submission.csv": "Id,Predicted\nid-9,0\nid-8,0\n",
}


def test_channels_lie_side_by_side(tmp_path: Path) -> None:
    result = found(tmp_path, CHANNELS, CHANNEL_TABLES)

    assert (result.competition.pooling, result.competition.slots) == ("side_by_side", COLOURS)
    assert files_of(result)["id-3"] == [f"train/id-3_{colour}.png" for colour in COLOURS]
    assert list(result.rows["pictures"]) == [4] * 8
    assert list(result.rows["row"][-2:]) == ["id-9", "id-8"]
    assert set(result.pictures.loc[result.pictures["file"].str.endswith("red.png"), "slot"]) == {"red"}


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_the_parameters_say_how_pictures_are_pooled(tmp_path: Path, pool: str) -> None:
    result = found(tmp_path, CHANNELS, CHANNEL_TABLES, pool=pool)

    assert (result.competition.pooling, result.competition.slots) == (pool, [])
    assert set(result.pictures["slot"]) == {""}


def test_a_missing_channel_leaves_no_places(tmp_path: Path) -> None:
    result = found(tmp_path / "auto", CHANNELS[1:], CHANNEL_TABLES)

    assert (result.competition.pooling, result.competition.slots) == ("mean", [])
    with pytest.raises(UserError, match=r"side_by_side needs the same places .* found 3 to 4 pictures a row"):
        found(tmp_path / "said", CHANNELS[1:], CHANNEL_TABLES, pool="side_by_side")


def test_one_picture_a_row_has_no_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every row has one picture"):
        found(
            tmp_path,
            ["train/a.1.jpg", "train/b.1.jpg", "test/1.jpg"],
            {"sample_submission.csv": "id,x\n1,0.5\n"},
            pool="side_by_side",
        )


BREASTS = [(p, side, view, 1000 * p + 10 * (side == "L") + (view == "CC")) for p in (11, 12, 13, 21, 22)
           for side in "LR" for view in ("CC", "MLO")]  # fmt: skip


def breast_tables(cancer: int = 0) -> Tables:
    train = [(p, i, s, v, 60, int(p == 12 and s == "L") or cancer * (i == 11000)) for p, s, v, i in BREASTS if p < 20]
    test = [(p, i, s, v, 61, f"{p}_{s}") for p, s, v, i in BREASTS if p > 20]
    return {
        "train.csv": table("patient_id,image_id,laterality,view,age,cancer", train),
        "test.csv": table("patient_id,image_id,laterality,view,age,prediction_id", test),
        "sample_submission.csv": table("prediction_id,cancer", [(f"{p}_{s}", 0.02) for p in (22, 21) for s in "LR"]),
    }


BREAST_FILES = [f"{'train' if p < 20 else 'test'}_images/{p}/{i}.dcm" for p, _, _, i in BREASTS]


def test_ids_put_together_from_columns(tmp_path: Path) -> None:
    result = found(tmp_path, BREAST_FILES, breast_tables(), groups="patient_id", columns=["age"])

    assert target_of(result)["12_L"] == "1"
    assert list(result.rows["row"][-4:]) == ["22_L", "22_R", "21_L", "21_R"]
    assert files_of(result, "test")["21_R"] == ["test_images/21/21000.dcm", "test_images/21/21001.dcm"]
    assert (result.competition.pooling, result.competition.slots) == ("side_by_side", ["CC", "MLO"])
    assert group_of(result)["12_L"] == group_of(result)["12_R"] == "12"
    assert list(result.rows["feature:age"]) == ["60"] * 6 + ["61"] * 4


def test_pictures_of_a_row_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'11_R' has several classes: '0', '1'"):
        found(tmp_path, BREAST_FILES, breast_tables(cancer=1))


def test_photos_of_a_business_through_a_table(tmp_path: Path) -> None:
    tables: Tables = {
        "train_photo_to_biz_ids.csv": table("photo_id,business_id", [(i, 1000 + i % 3) for i in range(1, 13)]),
        "train.csv": table("business_id,labels", [(1000, "0 1"), (1001, "1"), (1002, "")]),
        "test_photo_to_biz.csv": table("photo_id,business_id", [(20, "00a"), (21, "00a"), (21, "00b")]),
        "sample_submission.csv": table("business_id,labels", [("00b", "0 1"), ("00a", "0 1")]),
    }
    files = [f"train_photos/{i}.jpg" for i in range(1, 13)] + ["test_photos/20.jpg", "test_photos/21.jpg"]

    result = found(tmp_path, files, tables)

    assert target_of(result) == {"1000": "0 1", "1001": "1", "1002": ""}
    assert files_of(result)["1001"] == [f"train_photos/{i}.jpg" for i in (1, 10, 4, 7)]
    # A photo of two businesses stands twice.
    assert files_of(result, "test") == {
        "00a": ["test_photos/20.jpg", "test_photos/21.jpg"],
        "00b": ["test_photos/21.jpg"],
    }
    assert result.competition.pooling == "mean"


def test_a_folder_a_row(tmp_path: Path) -> None:
    files = [f"{split}/{i:05d}/FLAIR/Image-{k}.dcm" for split, ids in (("train", range(6)), ("test", (8, 9)))
             for i in ids for k in range(1, 3 + i % 2)]  # fmt: skip
    tables: Tables = {
        "train_labels.csv": table("BraTS21ID,MGMT_value", [(f"{i:05d}", i % 2) for i in range(6)]),
        "sample_submission.csv": table("BraTS21ID,MGMT_value", [("00008", 0.5), ("00009", 0.5)]),
    }

    result = found(tmp_path, files, tables)

    assert target_of(result) == {f"{i:05d}": str(i % 2) for i in range(6)}
    assert files_of(result, "test")["00009"] == [f"test/00009/FLAIR/Image-{k}.dcm" for k in (1, 2, 3)]


def test_both_eyes_in_two_columns(tmp_path: Path) -> None:
    files = [f"{split}/{i}_{side}.jpg" for split, ids in (("train", range(6)), ("test", (8, 9))) for i in ids
             for side in ("left", "right")]  # fmt: skip
    rows = [(i, f"{i}_left.jpg", f"{i}_right.jpg", i % 2, int(i > 2)) for i in range(6)]
    tables: Tables = {
        "train.csv": table("ID,Left-Fundus,Right-Fundus,N,D", rows),
        "sample_submission.csv": table("ID,N,D", [(8, 0, 0), (9, 0, 0)]),
    }

    result = found(tmp_path, files, tables)

    assert target_of(result)["5"] == "N D"
    assert result.competition.slots == ["left", "right"]
    assert list(result.rows["pictures"]) == [2] * 8


def test_wells_of_plates(tmp_path: Path) -> None:
    def wells(split: str, experiment: str) -> list[str]:
        return [f"{split}/{experiment}/Plate1/B0{k}_s{s}_w{w}.png" for k in range(2, 6) for s in (1, 2) for w in (1, 2)]

    tables: Tables = {
        "train.csv": table("id_code,experiment,sirna", [(f"HEPG2-01_1_B0{k}", "HEPG2-01", k % 2) for k in range(2, 6)]),
        "sample_submission.csv": table("id_code,sirna", [(f"HEPG2-08_1_B0{k}", 0) for k in range(2, 6)]),
    }

    result = found(tmp_path, wells("train", "HEPG2-01") + wells("test", "HEPG2-08"), tables)

    assert target_of(result)["HEPG2-01_1_B03"] == "1"
    assert result.competition.slots == ["s1_w1", "s1_w2", "s2_w1", "s2_w2"]


def test_pictures_of_a_pet(tmp_path: Path) -> None:
    files = [f"train_images/x{i}-{k}.jpg" for i in range(10) for k in range(1, 2 + i % 3)]
    tables: Tables = {
        "train/train.csv": table("Age,PetID,AdoptionSpeed", [(i % 3, f"x{i}", i % 5) for i in range(10)]),
        "test/test.csv": table("Age,PetID", [(1, "y1")]),
        "test/sample_submission.csv": "PetID,AdoptionSpeed\ny1,2\n",
    }

    result = found(tmp_path, [*files, "test_images/y1-1.jpg", "test_images/y1-2.jpg"], tables)

    assert (result.task.kind, result.competition.pooling) == ("grades", "mean")
    assert files_of(result, "test") == {"y1": ["test_images/y1-1.jpg", "test_images/y1-2.jpg"]}


LEAVES = [*(f"images/{i}.jpg" for i in range(12))]
LEAF_TABLES: Tables = {
    "train.csv": table("id,species,margin1,sex,area", [(i, "ab"[i % 2], i / 10, "mf"[i % 2], "") for i in range(8)]),
    "test.csv": table("id,margin1,sex", [(i, i / 10, "m") for i in range(8, 12)]),
    "sample_submission.csv": table("id,a,b", [(i, 0.5, 0.5) for i in (9, 8, 11, 10)]),
}


def test_columns_are_features(tmp_path: Path) -> None:
    result = found(tmp_path, LEAVES, LEAF_TABLES, columns=["margin1", "sex"])

    assert list(result.rows["feature:margin1"]) == [*(f"{i / 10}" for i in range(8)), "0.9", "0.8", "1.1", "1.0"]
    assert list(result.rows["feature:sex"][:2]) == ["m", "f"]


def test_all_columns_of_numbers_that_both_tables_have(tmp_path: Path) -> None:
    result = found(tmp_path, LEAVES, LEAF_TABLES, columns="all")

    assert [name for name in result.rows if name.startswith("feature:")] == ["feature:margin1"]


def test_no_columns_unless_asked(tmp_path: Path) -> None:
    result = found(tmp_path, LEAVES, LEAF_TABLES)

    assert not any(name.startswith("feature:") for name in result.rows)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("margin", r"data.columns: found 'margin', which stands in no table of training rows; accepted: .*margin1"),
        ("area", r"data.columns: found 'area', which stands in no table of test rows; accepted: .*margin1, sex"),
        ("species", r"data.columns: found 'species', which is what is predicted"),
    ],
)
def test_a_column_that_is_no_feature_is_refused(tmp_path: Path, column: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        found(tmp_path, LEAVES, LEAF_TABLES, columns=[column])
