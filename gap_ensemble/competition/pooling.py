"""How the features of several pictures of a row become one vector."""

from gap_ensemble.competition.attributes import Attributes
from gap_ensemble.competition.found import Pooling
from gap_ensemble.competition.reading import Reading
from gap_ensemble.messages.errors import UserError, listed

# So many pictures of a row may lie side by side without being asked to.
MAX_SLOTS = 16
Files = dict[str, list[tuple[str, str]]]


def read_pooling(
    reading: Reading, train: Files, test: Files, columns: tuple[Attributes, Attributes]
) -> tuple[Pooling, list[str], dict[str, str]]:
    """Decide how the pictures of a row are pooled.

    Parameters
    ----------
    reading : Reading
    train, test : dict
        The pictures of every row, with the place of each.
    columns : Attributes, Attributes
        The tables of training and of test pictures: where names do not tell the places, a column may (CC and MLO).

    Returns
    -------
    str, list of str, dict
        The pooling, its places, and the place of every picture.

    Raises
    ------
    UserError
        If data.pool asks for places, and the rows do not have the same.
    """
    pool = reading.data.pool
    every = [*train.values(), *test.values()]
    counts = {len(files) for files in every}
    if counts == {1}:
        if pool == "side_by_side":
            raise UserError("params.yaml: data.pool: found side_by_side, and every row has one picture; accepted: auto")
        return "mean", [], {}
    if pool in ("mean", "max"):
        return pool, [], {}
    place_of = {file: place for files in every for file, place in files}
    slots = _slots(every, place_of)
    if not slots and len(counts) == 1:
        of_train, of_test = columns
        for column in of_train.tables:
            if test and column not in of_test.tables:
                continue
            place_of = of_train.of(column) | of_test.of(column)
            slots = _slots(every, place_of) if len(set(place_of.values())) in counts else []
            if slots:
                break
    if slots and (len(slots) <= MAX_SLOTS or pool == "side_by_side"):
        return "side_by_side", slots, place_of
    if pool == "side_by_side":
        examples = [f"{row} has {len(files)}" for row, files in list(train.items())[:3]]
        raise UserError(
            f"{reading.raw}: data.pool: side_by_side needs the same places in every row (red, green, …); found "
            f"{min(counts)} to {max(counts)} pictures a row ({listed(examples)}); accepted: auto, mean, max"
        )
    return "mean", [], {}


def _slots(every: list[list[tuple[str, str]]], place_of: dict[str, str]) -> list[str]:
    """Return the places of every row's pictures, if all rows have the same and each once."""
    places = sorted(place_of.get(file, "") for file, _ in every[0]) if every else []
    if "" in places or len(set(places)) < len(places):
        return []
    same = all(sorted(place_of.get(file, "") for file, _ in files) == places for files in every)
    return places if same else []
