"""Fine-tuning: what is trained, what is refused, and that augmentation changes training pictures alone."""

from typing import Any

import numpy as np
import pytest

from gap_ensemble.finetuning.entries import check_backbones
from gap_ensemble.finetuning.layers import block_starts, first_trained_layer
from gap_ensemble.finetuning.model import augmentation, training_model
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import PARAMS_FILE, Augment, Backbone, Finetune, load_params
from tools.workspace import ROOT

NO_CHANGE: dict[str, Any] = {"flip": False, "shear": 0.0, "zoom": 0.0, "shift": 0.0}


def network(name: str, entry: Backbone) -> Application:
    opened = open_network(name, entry, "finetune")
    assert isinstance(opened, Application)
    return opened


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_blocks", "last"),
    [
        ("VGG16", 5, "block5_conv1"),
        ("ResNet50V2", 16, "conv5_block3_preact_bn"),
        ("Xception", 13, "block14_sepconv1"),
        ("MobileNetV2", 11, "block_16_expand"),
        ("EfficientNetB0", 10, "block7a_expand_conv"),
        ("EfficientNetLite0", 10, "block7a_expand_conv"),
        ("SmallConvNet", 3, "block3_conv"),
    ],
)
def test_blocks_are_those_that_a_network_is_drawn_with(name: str, n_blocks: int, last: str) -> None:
    model = network(name, Backbone(weights="random", input_size=96)).base
    starts = block_starts(model)
    assert (len(starts), model.operations[starts[-1]].name) == (n_blocks, last)


def mobilenet(**values: Any) -> tuple[Application, Finetune]:
    entry = Finetune(weights="random", input_size=32, backbone="MobileNetV2", **values)
    return network("Tuned", entry), entry


@pytest.mark.slow
def test_only_the_last_block_changes_and_no_statistics_of_batch_normalisation() -> None:
    opened, entry = mobilenet(optimizer="adam", learning_rate=0.01)
    first = first_trained_layer(opened.base, "Tuned", entry)
    names = [step.name for step in opened.base.operations[first:]]
    before = {layer.name: layer.get_weights() for layer in opened.base.layers}
    model = training_model(opened, entry, first, None, 3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        model.train_on_batch(rng.uniform(0, 255, (4, 32, 32, 3)).astype(np.float32), np.array([0, 1, 2, 0]))
    changed = set()
    for layer in opened.base.layers:
        for variable, old in zip(layer.weights, before[layer.name], strict=True):
            if not np.array_equal(np.asarray(variable), old):
                changed.add(layer.name)
                assert "moving" not in variable.path
    assert changed
    assert changed <= set(names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"train_from": "block_16_expnd"},
            "train_from: mobilenetv2_1.00_32 has no layer 'block_16_expnd'; nearest: block_16",
        ),
        (
            {"train_from": "Conv_1_bn"},
            "from 'Conv_1_bn' on, mobilenetv2_1.00_32 has no weights to train; name an earlier",
        ),
        ({"last_blocks": 99}, "last_blocks: found 99; mobilenetv2_1.00_32 has 11 blocks: set 1 to 11, or all"),
    ],
)
def test_layers_that_are_not_there_are_named_with_the_nearest(values: dict[str, Any], message: str) -> None:
    opened, entry = mobilenet(**values)
    with pytest.raises(UserError, match=r"^params\.yaml: finetune\.Tuned\.") as error:
        first_trained_layer(opened.base, "Tuned", entry)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_that_can_not_take_the_file_are_named_before_it_is_trained() -> None:
    tuned = Finetune(backbone="MobileNet", weights="random", arguments={"alpha": 0.5})
    file = "tuned/Tuned.weights.h5"
    params = load_params(ROOT / PARAMS_FILE).model_copy(
        update={
            "finetune": {"Tuned": tuned},
            "backbones": {
                "Right": Backbone(backbone="MobileNet", weights=file, arguments={"alpha": 0.5}),
                "VGG16": Backbone(weights=file, arguments={"alpha": 0.5}),
                "Whole": Backbone(backbone="MobileNet", weights=file),
                "Other": Backbone(backbone="VGG16", weights="tuned/Other.weights.h5"),
            },
        }
    )
    with pytest.raises(UserError) as error:
        check_backbones("Tuned", params)
    first, second = error.value.problems
    assert first.startswith(
        "params.yaml: backbones.VGG16: VGG16 can't take weights/tuned/Tuned.weights.h5, which will be"
    )
    assert second.startswith(
        "params.yaml: backbones.Whole.arguments: found {}; weights/tuned/Tuned.weights.h5 will be of"
    )


def test_augmentation_changes_training_pictures_alone() -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    layers = augmentation(Augment())
    assert np.array_equal(np.asarray(layers(pictures, training=False)), pictures)
    changed = np.asarray(layers(pictures, training=True))
    assert not np.array_equal(changed, pictures)
    assert 0 <= changed.min() <= changed.max() <= 255.01
    none = augmentation(Augment(**NO_CHANGE))
    assert np.array_equal(np.asarray(none(pictures, training=True)), pictures)
