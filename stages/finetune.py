"""Train a network on the competition's pictures, from the weights that it starts with.

    python -m stages.finetune XceptionTuned        # or: dvc repro finetune@XceptionTuned

Reads the pictures that `data/manifest.csv` lists. Writes `weights/tuned/<name>.weights.h5`, which an entry of
`backbones` names as its weights, and the learning curves, `results/finetune/<name>.csv` and `.png`.

A network that was fine-tuned on a picture scores too well on it. So a part of the training pictures is held out: this
stage never looks at them, and stage train validates on them alone. A group (`data.groups`, equal pictures) is held out
as a whole. The weights file lists the pictures that the network was fine-tuned on, by their content, and the list goes
with the features that are extracted with it.

A killed run goes on after its last whole epoch.
"""

from pathlib import Path

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.finetuning.curves import write_curves
from gap_ensemble.finetuning.entries import check_backbones, open_trainable, tuned_weights
from gap_ensemble.finetuning.held_out import check_folds, split_pictures
from gap_ensemble.finetuning.pictures import Pictures, Source
from gap_ensemble.finetuning.training import FineTuning
from gap_ensemble.images.grey import read_grey_scale
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.params import entry_of_command_line, load_params
from gap_ensemble.storage.manifest import whole_pictures
from gap_ensemble.storage.store import store_folder
from gap_ensemble.tasks.task import task_of
from gap_ensemble.validation.groups import connected_groups


def main() -> None:
    """Run the stage for the entry of `finetune` that the command line names."""
    params = load_params()
    name = entry_of_command_line("finetune", params.finetune)
    make_deterministic(params.seed)
    entry = params.finetune[name]
    device = find_device("float32")
    network = open_trainable(name, entry, device)
    check_backbones(name, params)
    task = task_of(read_competition())
    if task.competition.task.kind not in ("classes", "grades"):
        raise UserError(
            f"params.yaml: finetune.{name}: the task is {task.competition.task.kind}; networks can be fine-tuned on "
            "classes and grades: remove the entry, and use frozen features"
        )
    targets = read_rows()
    pictures = whole_pictures("train")
    targets = targets[targets["split"] == "train"].set_index("row").loc[pictures["id"]]
    label = task.encode(targets)
    # A row is one group with its pictures, their copies, and the rows of the same patient or driver (data.groups).
    group = connected_groups([column.tolist() for column in (pictures["id"], pictures["md5"], targets["group"])])
    used, stops = split_pictures(name, entry.held_out, label, group, params.seed)
    check_folds(name, group[~used], params.train.folds)

    rows, label = pictures[used], label[used]
    source = Source(Path(params.data.raw), network.input_size, read_grey_scale())
    train, stopping = (
        Pictures(source, list(rows["file"][part]), list(rows["md5"][part]), label[part], entry.batch_size)
        for part in (~stops, stops)
    )
    tuning = FineTuning(name, entry, network, device, len(task.names), params.seed, train, stopping)
    with tuning.checkpoints() as checkpoints:
        tuning.run(checkpoints, store_folder(params.extract.store))
        write_curves(name, checkpoints.curves, checkpoints.best)
        # What it started from may have been fine-tuned before.
        network.save_weights(tuned_weights(name), {*rows["md5"], *network.fine_tuned_on})


if __name__ == "__main__":
    run(main)
