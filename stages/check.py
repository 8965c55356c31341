"""Check params.yaml: keys, values, that the folder and the files that it names are there, that new networks load.

    python -m stages.check        # or: dvc repro check

Runs when params.yaml has changed. Without it a mistyped section changes nothing and is never found, a mistyped file
ends in DVC's own line, which does not say what to do, and a mistyped network, or weights that do not fit or can't be
downloaded, are found after all pictures have been read and the networks before it have run for hours. Everything wrong
is said at once. What ran before is not looked at again. Writes one line that is always the same: what comes after waits
for it, and never runs again because of it.
"""

from gap_ensemble.inputs import missing_inputs, new_entries
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.networks.entries import bad_entries
from gap_ensemble.params import load_params
from gap_ensemble.paths import CHECKED
from gap_ensemble.storage.files import write_text


def main() -> None:
    """Run the stage."""
    params = load_params()
    problems = missing_inputs(params) + bad_entries(new_entries(params.backbones))
    if problems:
        raise UserError(problems)
    write_text(CHECKED, "The folder and the files that params.yaml names are there.\n")


if __name__ == "__main__":
    run(main)
