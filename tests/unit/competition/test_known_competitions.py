"""Competitions as Kaggle ships them, from their folders, tables and samples: what is found in each."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_competitions import Tables, found, table, warned

Made = tuple[list[str], Tables]


def pictures(folder: str, names: Iterable[Any], suffix: str = "jpg") -> list[str]:
    return [f"{folder}/{name}.{suffix}" for name in names]


def hashes(n: int, start: int = 0, length: int = 12) -> list[str]:
    return [f"{(i + start + 1) * 2654435761 * 40503 % 16**length:0{length}x}" for i in range(n)]


TRAIN, TEST = hashes(30), hashes(6, 100)


def cassava() -> Made:
    return [*pictures("train_images", TRAIN), *pictures("test_images", TEST[:1])], {
        "train.csv": table("image_id,label", [(f"{name}.jpg", i % 5) for i, name in enumerate(TRAIN)]),
        "sample_submission.csv": table("image_id,label", [(f"{TEST[0]}.jpg", 4)]),
        "label_num_to_disease_map.json": json.dumps({str(i): f"disease {i}" for i in range(5)}),
        "train_tfrecords/ld_train00-1338.tfrec": "x",
    }


def cassava_without_test_pictures() -> Made:
    files, tables = cassava()
    return files[:-1], tables


def imet() -> Made:
    tags = [" ".join(map(str, sorted({i % 7, 100 + i % 11, 900 - i % 3}))) for i in range(30)]
    return [*pictures("train", TRAIN, "png"), *pictures("test", TEST, "png")], {
        "train.csv": table("id,attribute_ids", zip(TRAIN, tags, strict=True)),
        "labels.csv": table("attribute_id,attribute_name", [(i, f"culture::{i}") for i in range(1103)]),
        "sample_submission.csv": table("id,attribute_ids", [(name, "0 1 2") for name in TEST]),
    }


def planet() -> Made:
    tags = ["clear primary", "haze primary water", "cloudy", "clear agriculture primary road", "partly_cloudy primary"]
    train, test = [f"train_{i}" for i in range(30)], [f"test_{i}" for i in range(6)]
    extra = [f"file_{i}" for i in range(4)]
    files = pictures("train-jpg", train) + pictures("train-tif-v2", train, "tif") + pictures("test-jpg", test)
    files += pictures("test-jpg-additional", extra) + pictures("test-tif-v2", test + extra, "tif")
    return files, {
        "train_v2.csv": table("image_name,tags", [(name, tags[i % 5]) for i, name in enumerate(train)]),
        "sample_submission.csv": table("image_name,tags", [(name, "primary") for name in test]),
        "sample_submission_v2.csv": table("image_name,tags", [(name, "primary clear water") for name in test + extra]),
    }


def right_whale() -> Made:
    whales = [f"whale_{i:05d}" for i in (8, 13, 77, 92)]
    train, test = [f"w_{i}" for i in range(20)], [f"w_{i}" for i in range(20, 26)]
    return pictures("imgs", train + test), {
        "train.csv": table("Image,whaleID", [(f"{name}.jpg", whales[i % 4]) for i, name in enumerate(train)]),
        "sample_submission.csv": table(",".join(["Image", *whales]), [(f"{name}.jpg", *[0.25] * 4) for name in test]),
    }


def invasive_species() -> Made:
    return pictures("train", range(1, 21)) + pictures("test", range(1, 9)), {
        "train_labels.csv": table("name,invasive", [(i, i % 2) for i in range(1, 21)]),
        "sample_submission.csv": table("name,invasive", [(i, 0.5) for i in range(1, 9)]),
    }


def furniture_128() -> Made:
    images = [{"url": [f"http://x/{i}"], "image_id": i} for i in range(1, 31)]
    labels = [{"label_id": 1 + i % 5, "image_id": i} for i in range(1, 31)]
    return pictures("train", range(1, 31)) + pictures("test", range(1, 7)), {
        "train.json": json.dumps({"images": images, "annotations": labels}),
        "test.json": json.dumps({"images": [{"url": ["x"], "image_id": i} for i in range(1, 7)]}),
        "sample_submission_randomlabel.csv": table("id,predicted", [(i, i * 9) for i in range(1, 7)]),
    }


def imaterialist_fashion() -> Made:
    images = [{"url": f"http://x/{i}", "imageId": str(i)} for i in range(1, 31)]
    labels = [{"labelId": [str(1 + i % 7), str(20 + i % 4)], "imageId": str(i)} for i in range(1, 31)]
    return pictures("train", range(1, 31)) + pictures("test", range(1, 7)), {
        "train.json": json.dumps({"info": {}, "images": images, "annotations": labels}),
        "sample_submission.csv": table("image_id,label_id", [(i, "66 105 153") for i in range(1, 7)]),
    }


def plankton() -> Made:
    classes = ["acantharia_protist", "copepod_calanoid", "fish_larvae", "trichodesmium_tuft"]
    files = [f"train/{name}/{10 * k + i}.jpg" for k, name in enumerate(classes) for i in range(5)]
    return files + pictures("test", range(100, 106)), {
        "sampleSubmission.csv": table(
            ",".join(["image", *classes]), [(f"{i}.jpg", *[0.25] * 4) for i in range(100, 106)]
        )
    }


def mayo() -> Made:
    train = [(f"{name[:6]}_{k}", 11, name[:6], k, ("CE", "LAA")[i % 2]) for i, name in enumerate(TRAIN[:10])
             for k in range(1 + i % 3)]  # fmt: skip
    test = [(f"{name[:6]}_{k}", 11, name[:6], k) for i, name in enumerate(TEST) for k in range(1 + i % 2)]
    files = pictures("train", [row[0] for row in train], "tif") + pictures("test", [row[0] for row in test], "tif")
    return files + pictures("other", ["zz1_0", "zz2_0"], "tif"), {
        "train.csv": table("image_id,center_id,patient_id,image_num,label", train),
        "test.csv": table("image_id,center_id,patient_id,image_num", test),
        "other.csv": table("image_id,patient_id,label", [("zz1_0", "zz1", "Other"), ("zz2_0", "zz2", "Other")]),
        "sample_submission.csv": table("patient_id,CE,LAA", [(name[:6], 0.5, 0.5) for name in TEST]),
    }


def panda() -> Made:
    rows = [(name, ("karolinska", "radboud")[i % 2], i % 6, f"{3 + i % 3}+{3 + i % 2}") for i, name in enumerate(TRAIN)]
    files = pictures("train_images", TRAIN, "tiff") + pictures("train_label_masks", TRAIN, "tiff")
    return files, {
        "train.csv": table("image_id,data_provider,isup_grade,gleason_score", rows),
        "test.csv": table("image_id,data_provider", [(name, "radboud") for name in TEST]),
        "sample_submission.csv": table("image_id,isup_grade", [(name, 0) for name in TEST]),
    }


def herbarium_2022() -> Made:
    names = [f"{k:05d}__{i:03d}" for k in range(6) for i in range(5)]
    content = {
        "annotations": [{"genus_id": 1, "category_id": int(name[:5]), "image_id": name} for name in names],
        "images": [{"image_id": name, "file_name": f"{name[:3]}/{name[3:5]}/{name}.jpg"} for name in names],
        "categories": [{"category_id": k, "scientificName": f"Abies {k}"} for k in range(6)],
        "genera": [{"genus_id": 1, "genus": "Abies"}],
    }
    test = [{"image_id": str(i), "file_name": f"000/test-{i:06d}.jpg"} for i in range(6)]
    files = [f"train_images/{name[:3]}/{name[3:5]}/{name}.jpg" for name in names]
    return files + pictures("test_images/000", [f"test-{i:06d}" for i in range(6)]), {
        "train_metadata.json": json.dumps(content),
        "test_metadata.json": json.dumps(test),
        "sample_submission.csv": table("Id,Predicted", [(i, 42) for i in range(6)]),
    }


def herbarium_2020() -> Made:
    content = {
        "annotations": [{"category_id": i % 5, "id": i, "image_id": i} for i in range(30)],
        "images": [{"id": i, "file_name": f"images/{i % 5:03d}/00/{i}.jpg"} for i in range(30)],
        "categories": [{"id": k, "name": f"Espèce {k}"} for k in range(5)],
    }
    test = {"images": [{"id": i, "file_name": f"images/000/{i}.jpg"} for i in range(6)]}
    files = [f"nybg2020/train/images/{i % 5:03d}/00/{i}.jpg" for i in range(30)]
    return files + pictures("nybg2020/test/images/000", range(6)), {
        "nybg2020/train/metadata.json": json.dumps(content, ensure_ascii=False).encode("latin-1"),
        "nybg2020/test/metadata.json": json.dumps(test),
        "sample_submission.csv": table("Id,Predicted", [(i, 0) for i in range(6)]),
    }


def iwildcam_2019() -> Made:
    header = "date_captured,file_name,frame_num,id,location,rights_holder,seq_id,seq_num_frames"
    rows = [("2011-05-13", f"{name}.jpg", 1, name, 33 + i % 6, "me", f"s{i}", 3) for i, name in enumerate(TRAIN + TEST)]
    return [*pictures("train_images", TRAIN), *pictures("test_images", TEST)], {
        "train.csv": table(f"category_id,{header}", [((0, 19, 3, 16)[i % 4], *row) for i, row in enumerate(rows[:30])]),
        "test.csv": table(header, rows[30:]),
        "sample_submission.csv": table("Id,Category", [(name, 0) for name in TEST]),
    }


def hotel_id() -> Made:
    hotels = (36363, 53586, 18807, 64314, 60181, 111)
    rows = [(f"{name}.jpg", i % 3, hotels[i % 6], f"2018-04-09 {i:02d}:35") for i, name in enumerate(TRAIN)]
    files = [f"train_images/{chain}/{name}" for name, chain, _, _ in rows]
    return files + pictures("test_images", TEST[:1]), {
        "train.csv": table("image,chain,hotel_id,timestamp", rows),
        "sample_submission.csv": table("image,hotel_id", [(f"{TEST[0]}.jpg", "36363 53586 18807 64314 60181")]),
    }


def cifar_10() -> Made:
    names = ["airplane", "cat", "dog", "frog", "truck"]
    return pictures("train", range(1, 31), "png") + pictures("test", range(1, 11), "png"), {
        "trainLabels.csv": table("id,label", [(i, names[i % 5]) for i in range(1, 31)]),
        "sampleSubmission.csv": table("id,label", [(i, "cat") for i in range(1, 11)]),
    }


def street_view() -> Made:
    files = [f"{split}/{i}.Bmp" for split in ("train", "trainResized") for i in range(1, 21)]
    return files + [f"{split}/{i}.Bmp" for split in ("test", "testResized") for i in range(21, 31)], {
        "trainLabels.csv": table("ID,Class", [(i, "A8cZ"[i % 4]) for i in range(1, 21)]),
        "sampleSubmission.csv": table("ID,Class", [(i, "A") for i in range(21, 31)]),
    }


def sea_lions() -> Made:
    columns = "adult_males,subadult_males,pups"
    return pictures("Train", range(20)) + pictures("TrainDotted", range(20)) + pictures("Test", range(8)), {
        "Train/train.csv": table(f"train_id,{columns}", [(i, i % 3, i % 5, i * 7 % 11) for i in range(20)]),
        "sample_submission.csv": table(f"test_id,{columns}", [(i, 1, 2, 3) for i in range(8)]),
    }


def isic_2024() -> Made:
    train = [f"ISIC_{i:07d}" for i in range(30)]
    rows = [(name, int(i % 7 == 0), f"IP_{i % 6}", 50) for i, name in enumerate(train)]
    return pictures("train-image/image", train), {
        "train-metadata.csv": table("isic_id,target,patient_id,age_approx", rows),
        "test-metadata.csv": table("isic_id,patient_id,age_approx", [(f"ISIC_99{i}", "IP_1", 40) for i in range(3)]),
        "train-image.hdf5": "x",
        "test-image.hdf5": "x",
        "sample_submission.csv": table("isic_id,target", [(f"ISIC_99{i}", 0.3) for i in range(3)]),
    }


def plant_traits() -> Made:
    means = [(i, 10 + i, i / 7, i / 3, 1, 1) for i in range(1000, 1030)]
    return pictures("train_images", range(1000, 1030), "jpeg") + pictures("test_images", range(2000, 2006), "jpeg"), {
        "train.csv": table("id,SOIL,X4_mean,X11_mean,X4_sd,X11_sd", means),
        "test.csv": table("id,SOIL", [(i, 4) for i in range(2000, 2006)]),
        "sample_submission.csv": table("id,X4,X11", [(i, 1, 2) for i in range(2000, 2006)]),
    }


def radio_signals() -> Made:
    train = [f"train/{name[0]}/{name}.npy" for name in TRAIN]
    return [*train, *(f"test/{name[0]}/{name}.npy" for name in TEST), "old_leaky_data/train_old/a.npy"], {
        "train_labels.csv": table("id,target", [(name, i % 2) for i, name in enumerate(TRAIN)]),
        "sample_submission.csv": table("id,target", [(name, 0.5) for name in TEST]),
    }


def nih_chest() -> Made:
    train = [f"{i:08d}_{k:03d}.png" for i in range(1, 16) for k in range(2)]
    test = [f"{i:08d}_000.png" for i in range(20, 26)]
    labels = ["No Finding", "Cardiomegaly|Effusion", "Hernia", "Effusion", "Cardiomegaly", "Hernia|Effusion"]
    rows = [(name, labels[i % 6], i % 2, 1 + i // 2) for i, name in enumerate(train)]
    names = ["No Finding", "Cardiomegaly", "Effusion", "Hernia"]
    return [*(f"train/{name}" for name in train), *(f"test/{name}" for name in test)], {
        "Data_Entry_2017.csv": table("Image Index,Finding Labels,Follow-up #,Patient ID", rows),
        "sample_submission.csv": table(",".join(["Image Index", *names]), [(name, *[0.25] * 4) for name in test]),
    }


def plant_pathology_2020() -> Made:
    columns = "healthy,multiple_diseases,rust,scab"
    train, test = [f"Train_{i}" for i in range(20)], [f"Test_{i}" for i in range(8)]
    return pictures("images", train + test), {
        "train.csv": table(
            f"image_id,{columns}", [(n, *[int(i % 4 == k) for k in range(4)]) for i, n in enumerate(train)]
        ),
        "test.csv": table("image_id", [(name,) for name in test]),
        "sample_submission.csv": table(f"image_id,{columns}", [(name, *[0.25] * 4) for name in test]),
    }


def cervical_spine() -> Made:
    train, test = [f"1.2.826.{i}" for i in range(100, 112)], [f"1.2.826.{i}" for i in range(200, 204)]
    files = [f"{s}_images/{n}/{k}.dcm" for s, ns in (("train", train), ("test", test)) for n in ns for k in range(1, 4)]
    labels = ["C1", "C2", "patient_overall"]
    rows = [(name, int(i % 2), int(i % 4 == 1), int(i % 4 == 3)) for i, name in enumerate(train)]
    return files, {
        "train.csv": table("StudyInstanceUID,patient_overall,C1,C2", rows),
        "test.csv": table("row_id,StudyInstanceUID", [(f"{name}_{label}", name) for name in test for label in labels]),
        "sample_submission.csv": table("row_id,fractured", [(f"{n}_{label}", 0.5) for n in test for label in labels]),
    }


def isic_2019() -> Made:
    train, test = [f"ISIC_{i:07d}" for i in range(30)], [f"ISIC_{i:07d}" for i in range(100, 108)]
    truth = [(name, *[float(i % 3 == k) for k in range(3)]) for i, name in enumerate(train)]
    return pictures("ISIC_2019_Training_Input", train) + pictures("ISIC_2019_Test_Input", test), {
        "ISIC_2019_Training_GroundTruth.csv": table("image,MEL,NV,BCC", truth),
        "ISIC_2019_Training_Metadata.csv": table("image,lesion_id", [(n, f"L{i // 2}") for i, n in enumerate(train)]),
        "sample_submission.csv": table("image,MEL,NV,BCC", [(name, 0, 0, 0) for name in test]),
    }


def skin_in_two_folders() -> Made:
    names = [f"ISIC_{i:07d}" for i in range(30)]
    rows = [(f"HAM_{i // 2}", name, ("bkl", "nv", "mel")[i // 2 % 3], "scalp") for i, name in enumerate(names)]
    files = [f"HAM10000_images_part_{1 + i % 2}/{name}.jpg" for i, name in enumerate(names)]
    return files + pictures("test", TEST), {
        "HAM10000_metadata.csv": table("lesion_id,image_id,dx,localization", rows),
        "sample_submission.csv": table("image_id,dx", [(name, "nv") for name in TEST]),
    }


def landmarks() -> Made:
    files = [f"{split}/{n[0]}/{n[1]}/{n[2]}/{n}.jpg" for split, ns in (("train", TRAIN), ("test", TEST)) for n in ns]
    rows = [(name, f"http://a/{name}.jpg", i % 4 * 100) for i, name in enumerate(TRAIN)]
    return files, {
        "train.csv": table("id,url,landmark_id", rows),
        "train_label_to_category.csv": table("landmark_id,category", [(i * 100, f"http://c/{i}") for i in range(4)]),
        "sample_submission.csv": table("id,landmarks", [(n, "8815 0.03" if i % 2 else "") for i, n in enumerate(TEST)]),
    }


def one_folder_more() -> Made:
    return ["comp/train/cat.0.jpg", "comp/train/dog.0.jpg", "comp/test/1.jpg"], {
        "comp/sample_submission.csv": "id,label\n1,0.5\n"
    }


@dataclass
class Expected:
    """What must be found: kind, number of names, form, metric, training and test rows; and words of a warning."""

    make: Callable[[], Made]
    found: tuple[str, int, str | None, str, int, int]
    warning: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


KNOWN = [
    Expected(cassava, ("classes", 5, "class", "accuracy", 30, 1), ("data.task: grades",)),
    Expected(cassava_without_test_pictures, ("classes", 5, "class", "accuracy", 30, 0), ("no test pictures",)),
    Expected(imet, ("labels", 21, "labels", "f2_samples", 30, 6), ("labels.csv",), {"metric": "f2_samples"}),
    Expected(planet, ("labels", 8, "labels", "f1_samples", 30, 10), ("train-tif-v2 (the pictures of train-jpg",)),
    Expected(right_whale, ("classes", 4, "probabilities", "log_loss", 20, 6)),
    Expected(invasive_species, ("classes", 2, "probability", "roc_auc", 20, 8), data={"metric": "roc_auc"}),
    Expected(furniture_128, ("classes", 5, "class", "accuracy", 30, 6), ("never predicted",)),
    Expected(imaterialist_fashion, ("labels", 11, "labels", "f1_micro", 30, 6), data={"metric": "f1_micro"}),
    Expected(plankton, ("classes", 4, "probabilities", "log_loss", 20, 6)),
    Expected(mayo, ("classes", 2, "probabilities", "log_loss", 10, 6), ("pictures are left unread: other",)),
    Expected(panda, ("grades", 6, "grade", "quadratic_kappa", 30, 0), ("train_label_masks",)),
    Expected(herbarium_2022, ("classes", 6, "class", "accuracy", 30, 6)),
    Expected(herbarium_2020, ("classes", 5, "class", "accuracy", 30, 6)),
    Expected(iwildcam_2019, ("classes", 4, "class", "accuracy", 30, 6), ("location looks like a group",)),
    Expected(hotel_id, ("classes", 6, "guesses", "map_at_5", 30, 1)),
    Expected(cifar_10, ("classes", 5, "class", "accuracy", 30, 10)),
    Expected(street_view, ("classes", 4, "class", "accuracy", 20, 10), ("trainResized",)),
    Expected(sea_lions, ("numbers", 3, "numbers", "rmse", 20, 8), ("TrainDotted",)),
    Expected(isic_2024, ("classes", 2, "probability", "log_loss", 30, 0), ("data.groups: patient_id",)),
    Expected(plant_traits, ("numbers", 2, "numbers", "rmse", 30, 6), data={"columns": "all"}),
    Expected(radio_signals, ("classes", 2, "probability", "log_loss", 30, 6), ("old_leaky_data",)),
    Expected(nih_chest, ("labels", 4, "probabilities", "roc_auc", 30, 6), ("data.groups: Patient ID",)),
    Expected(plant_pathology_2020, ("classes", 4, "probabilities", "log_loss", 20, 8)),
    Expected(cervical_spine, ("labels", 3, "long", "log_loss", 12, 4)),
    Expected(isic_2019, ("classes", 3, "probabilities", "log_loss", 30, 8), ("data.groups: lesion_id",)),
    Expected(skin_in_two_folders, ("classes", 3, "class", "accuracy", 30, 6), ("data.groups: lesion_id",)),
    Expected(landmarks, ("classes", 4, "class_confidence", "gap", 30, 6), ("'8815'",)),
    Expected(one_folder_more, ("classes", 2, "probability", "log_loss", 2, 1)),
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.make.__name__)
def test_known_competition_is_read(tmp_path: Path, known: Expected) -> None:
    files, tables = known.make()

    result = found(tmp_path, files, tables, **known.data)

    n_rows = result.rows["split"].value_counts()
    assert (
        result.task.kind,
        len(result.task.names),
        result.submission and result.submission.form,
        result.task.metric,
        n_rows["train"],
        n_rows.get("test", 0),
    ) == known.found
    assert not known.warning or warned(result, *known.warning)
