"""Labels that may be mistyped: names that are much like a frequent one, labels that hardly ever meet, rows without any.

They are said before any network runs. The files hold what they hold, so nothing is changed.
"""

from collections import Counter
from itertools import combinations

from gap_ensemble.competition.targets import Target
from gap_ensemble.messages.errors import listed, nearest

# A name may be mistyped if a name like it has so many times its rows.
MIN_RATIO = 10
# More rare names are no mistakes, but the way classes are; and of more names many are alike.
MAX_RARE, MAX_NAMES = 20, 1000
# Two labels hardly ever meet if they do in so small a share of the rows that chance would give.
RARELY = 0.02
MAX_SHOWN = 5
# If so small a share of the rows has no label, it may be forgotten.
MAX_EMPTY = 0.01


def doubtful_labels(target: Target) -> list[str]:
    """Return a line for everything that may be mistyped in what is predicted."""
    if target.kind not in ("classes", "labels"):
        return []
    separator = target.separator if target.kind == "labels" else None
    labels_of = {row: _split(values[0], separator) for row, values in target.values.items()}
    # The names of labels in columns of their own are those of the columns.
    lines = _mistyped(target.source, labels_of) if target.kind == "classes" or target.column else []
    if target.kind == "labels":
        lines += _hardly_meet(target.source, labels_of) + _empty(target.source, labels_of)
    return lines


def _split(text: str, separator: str | None) -> list[str]:
    return [text] if separator is None else [label for label in text.split(separator) if label]


def _mistyped(source: str, labels_of: dict[str, list[str]]) -> list[str]:
    counts = Counter(label for labels in labels_of.values() for label in labels)
    # Names with digits are mostly numbered, and much alike.
    words = [label for label, _ in counts.most_common() if not any(map(str.isdigit, label))]
    rare = [label for label in words if MIN_RATIO * counts[label] <= counts[words[0]]]
    if len(rare) > MAX_RARE or len(words) > MAX_NAMES:
        return []
    lines = []
    for label in rare:
        frequent = {name.casefold(): name for name in words if counts[name] >= MIN_RATIO * counts[label]}
        near = nearest(label.casefold(), frequent)
        if near:
            row = next(row for row, labels in labels_of.items() if label in labels)
            lines.append(
                f"{source}: {label!r} stands in {_n_rows(counts[label])} (such as {row!r}), and {frequent[near]!r} in "
                f"{counts[frequent[near]]:,}; correct it if it is mistyped"
            )
    return lines


def _hardly_meet(source: str, labels_of: dict[str, list[str]]) -> list[str]:
    n_rows = len(labels_of)
    counts = Counter(label for labels in labels_of.values() for label in labels)
    meets = Counter(pair for labels in labels_of.values() for pair in combinations(sorted(set(labels)), 2))
    rare = [(a, b) for (a, b), n in meets.items() if n <= RARELY * counts[a] * counts[b] / n_rows]
    lines = []
    for a, b in rare[:MAX_SHOWN]:
        rows = [row for row, labels in labels_of.items() if a in labels and b in labels]
        lines.append(
            f"{source}: {listed(map(repr, rows))} {'has' if len(rows) == 1 else 'have'} both {a} and {b}, which "
            f"hardly ever stand together ({counts[a]:,} and {counts[b]:,} rows have them); correct it if it is wrong"
        )
    return lines


def _empty(source: str, labels_of: dict[str, list[str]]) -> list[str]:
    rows = [row for row, labels in labels_of.items() if not labels]
    if not rows or len(rows) > MAX_EMPTY * len(labels_of):
        return []
    return [f"{source}: no label in {_n_rows(len(rows))} (such as {rows[0]!r}); fill it in if it was forgotten"]


def _n_rows(n: int) -> str:
    return f"{n:,} row{'s' if n > 1 else ''}"
