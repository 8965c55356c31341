"""The form of a submission, from what the sample shows, what is predicted, and the metric.

Where no form fits, the nearest are named, with what the files show for and against each.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace

from gap_ensemble.competition.found import Submission
from gap_ensemble.competition.sample_submission import Sample
from gap_ensemble.competition.splits import words
from gap_ensemble.competition.targets import Target, is_number
from gap_ensemble.messages.errors import UserError, did_you_mean, listed, nearest
from gap_ensemble.params import Data

# Metrics that are computed on decisions, not on probabilities.
DECISIONS = re.compile(r"accuracy|balanced_accuracy|f[12]_\w+|quadratic_kappa")
# What stands in a field without a value.
EMPTY = {"nan", "none", "null", "na", "n/a"}
# Rows of rare classes, as a share of all, that are taken for mistyped.
MAX_RARE = 0.01
# Metrics that each kind of task may have.
METRICS_OF = {
    "classes": r"log_loss|accuracy|balanced_accuracy|roc_auc|f[12]_\w+|map_at_\d+|top_\d+_error|gap|quadratic_kappa",
    "labels": r"log_loss|roc_auc|accuracy|f[12]_\w+|map_at_\d+|gap",
    "grades": r"quadratic_kappa|accuracy|balanced_accuracy|f[12]_\w+|log_loss|roc_auc|rmse|mae",
    "numbers": r"rmse|mae",
}


@dataclass(frozen=True)
class _Case:
    """What the form is read from: the sample (and its path), what is predicted, the parameters; and a form to fill."""

    path: str
    sample: Sample
    target: Target
    data: Data
    empty: Submission


def read_form(raw_name: str, sample: Sample, target: Target, data: Data) -> tuple[Submission, list[str]]:
    """Read the form that the sample submission shows.

    Parameters
    ----------
    raw_name : str
        The sample's path, for messages.
    sample : Sample
    target : Target
        What is predicted.
    data : Data
        The metric and the positive class settle what the sample leaves open.

    Returns
    -------
    Submission, list of str
        And a line for everything that was guessed.

    Raises
    ------
    UserError
        If no form fits.
    """
    empty = Submission("class", list(sample.table.columns), id_column=sample.id_column)
    if sample.labels and target.kind not in ("labels", "classes"):
        raise UserError(
            f"{raw_name}: a row for each id and one of {listed(sample.labels)}, which no form fits; nearest: a "
            f"probability for each id and label (for: the ids; against: {target.source} holds other values than 0 and "
            "1); choose one of them with data.labels: FILE:COLUMN, and make a sample submission of one row an id"
        )
    if sample.labels:
        return replace(empty, form="long", id_template="{row}_{label}"), []
    by_kind = {"labels": _labels, "grades": _grades, "numbers": _numbers, "classes": _classes}
    if isinstance(data.positive_class, list):  # They are one class by now.
        data = data.model_copy(update={"positive_class": " or ".join(data.positive_class)})
    case = _Case(raw_name, sample, target, data, empty)
    return _several_columns(case) if len(sample.columns) > 1 else by_kind[target.kind](case)


def _several_columns(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, data, empty = case.path, case.sample, case.target, case.data, case.empty
    columns, names = set(sample.columns), set(target.names)
    if target.kind in ("classes", "labels", "grades") and columns == names:
        decides = data.metric != "auto" and DECISIONS.fullmatch(data.metric)
        if target.kind == "labels" and decides:
            return replace(empty, form="indicators"), []
        return replace(empty, form="probabilities"), []
    if target.kind == "numbers" and columns == names:
        return replace(empty, form="numbers"), []
    word = "label" if target.kind == "labels" else "class"
    problems = []
    if columns - names:
        problems.append(
            f"{path}: a {word} without pictures: column {listed(sorted(columns - names))} has none in the training set "
            f"(from {target.source}); add pictures, drop the column, or say with data.labels where the columns stand"
        )
    if names - columns:
        problems.append(
            f"{path}: no column for {word} {listed(sorted(names - columns))} of the training pictures (from "
            f"{target.source}){_mistyped(target, sorted(names - columns), columns)}; expected the id and one column a "
            f"{word}"
        )
    if not columns & names:
        problems = [_no_form(path, sample, target)]
    raise UserError(problems)


def _mistyped(target: Target, names: list[str], columns: set[str]) -> str:
    """Name the first row whose class or label is like a column's, if there is one: it may be mistyped."""
    for name in names:
        near = nearest(name, columns)
        row = next((row for row, values in target.values.items() if name in values), None)
        if near and row is not None:
            return f": {row!r} has {name}{did_you_mean(near)}"
    return ""


def _labels(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, data, empty = case.path, case.sample, case.target, case.data, case.empty
    values = sample.values
    tokens = {token for value in values for token in value.split(target.separator)}
    warnings = []
    if values and all(is_number(value, 0, 1) and not value.isdigit() for value in values):
        raise UserError(_no_form(path, sample, target))
    unknown = sorted(tokens - set(target.names))
    if unknown and data.metric == "auto" and not tokens & set(target.names) and not all(map(str.isdigit, unknown)):
        warnings.append(
            f"{path}: {sample.columns[0]}: {listed(map(repr, unknown))} is no label of the training pictures "
            f"({listed(target.names)}); taken for a placeholder"
        )
    return replace(empty, form="labels"), warnings


def _grades(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, empty = case.path, case.sample, case.target, case.empty
    if all(is_number(value) for value in sample.values):
        return replace(empty, form="grade"), []
    raise UserError(_no_form(path, sample, target))


def _numbers(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, empty = case.path, case.sample, case.target, case.empty
    if len(target.names) == 1 and all(is_number(value, -float("inf")) for value in sample.values):
        return replace(empty, form="numbers"), []
    raise UserError(_no_form(path, sample, target))


def _classes(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, data, empty = case.path, case.sample, case.target, case.data, case.empty
    names, column = set(target.names), sample.columns[0]
    values = {value for value in sample.values if value in names or value.casefold() not in EMPTY}
    positive = data.positive_class if isinstance(data.positive_class, str) else None
    metric = "" if data.metric == "auto" else data.metric
    guesses = re.fullmatch(r"map_at_(\d+)|top_(\d+)_error", metric)
    if len(names) == 2 and not guesses and _is_probability(target, values, positive, bool(data.positive_class)):
        return _two_classes(case)
    if values and values <= names:
        if guesses and int(guesses[1] or guesses[2]) > 1:
            return replace(empty, form="guesses", n_guesses=int(guesses[1] or guesses[2])), []
        return replace(empty, form="class_confidence" if metric == "gap" else "class"), []
    if not values:  # An empty column says nothing; with more classes than two, one a row is by far the most common.
        if len(names) > 2 or (metric and DECISIONS.fullmatch(metric)):
            return replace(empty, form="class"), []
        raise UserError(_no_form(path, sample, target))
    parts = [value.rpartition(" ") for value in values]
    if all(name and is_number(number, 0, 1) for name, _, number in parts):
        known = {name for name, _, _ in parts} <= names
        if known or all("." in number for _, _, number in parts):
            odd = sorted({name for name, _, _ in parts} - names)
            return replace(empty, form="class_confidence"), _placeholders(path, column, odd, target)
    k = {len(value.split()) for value in values}
    tokens = {token for value in values for token in value.split()}
    numbers = all(token.isdigit() for token in tokens) and all(name.isdigit() for name in names)
    fractions = any(is_number(token) and not token.isdigit() for token in tokens - names)
    if max(k) > 1 and (tokens & names or numbers) and len(tokens) > 1 and not fractions:
        odd = sorted(tokens - names)
        return replace(empty, form="guesses", n_guesses=max(k)), _placeholders(path, column, odd, target)
    odd = sorted(values - names)
    alike = all(value.lstrip("-").isdigit() for value in odd) and all(name.lstrip("-").isdigit() for name in names)
    once = len(values) == 1 and not is_number(odd[0], -float("inf")) and " " not in odd[0]
    some = bool(values & names) and not any(is_number(value, -float("inf")) or " " in value for value in odd)
    if once or some or (alike and len(names) > 2):
        n = int(guesses[1] or guesses[2]) if guesses else 1
        form = replace(empty, form="guesses", n_guesses=n) if guesses else empty
        return form, _placeholders(path, column, odd, target)
    raise UserError(_no_form(path, sample, target))


def _is_probability(target: Target, values: set[str], positive: str | None, said: bool) -> bool:
    """Tell whether the one column of a sample holds probabilities, or 0 and 1, of one of two classes."""
    names = set(target.names)
    if not values or not all(is_number(value, 0, 1) for value in values):
        return False
    # 0 and 1 are probabilities, though the classes be called so; but of classes 1 and 2, a 1 is the class.
    return not (values <= names and positive is None and not said and not all(is_number(name, 0, 1) for name in names))


def is_called_like(column: str, name: str) -> bool:
    """Tell whether a column's name is, or holds as a word, the name of a class."""
    return name.casefold() == column.casefold() or name.casefold() in words(column)


def _two_classes(case: _Case) -> tuple[Submission, list[str]]:
    path, sample, target, data, empty = case.path, case.sample, case.target, case.data, case.empty
    column = sample.columns[0]
    # A column that is called like a class is that class's; has_cactus is called like cactus.
    called = [name for name in target.names if is_called_like(column, name)]
    said = data.positive_class if isinstance(data.positive_class, str) else None
    positive = said or (called or target.names)[-1]
    if data.metric != "auto" and DECISIONS.fullmatch(data.metric):
        return replace(empty, form="hard", positive_class=positive), []
    warnings = []
    if set(sample.values) <= {"0", "1"} and data.metric == "auto":
        warnings.append(
            f"{path}: {column} holds only 0 and 1, which may stand for probabilities or for decisions; probabilities "
            f"of {positive} are written: set data.metric: accuracy (or f1_macro) if the competition scores 0 and 1, "
            "data.metric: roc_auc or log_loss if it scores probabilities"
        )
    return replace(empty, form="probability", positive_class=positive), warnings


def _placeholders(path: str, column: str, odd: list[str], target: Target) -> list[str]:
    if not odd:
        return []
    return [
        f"{path}: {column}: {listed(map(repr, odd))} has no training picture (from {target.source}), so it is never "
        "predicted"
    ]


def _no_form(path: str, sample: Sample, target: Target) -> str:
    """Say which forms come near, and the reasons for and against each."""
    values, names, columns = sample.values, target.names, sample.columns
    near: list[tuple[int, str]] = []
    if len(columns) > 1:
        near.append(
            (2, f"a column a class (for: {len(columns)} columns; against: none is called like {listed(names, 3)})")
        )
        near.append((1, "numbers (for: several columns; against: no table of training rows has these columns)"))
    else:
        inside = [value for value in values if value in set(names)]
        if inside:
            odd = [value for value in values if value not in set(names)]
            near.append((3, f"class (for: {listed(inside, 3)}; against: {listed(map(repr, odd), 3)} is no class)"))
        if values and all(is_number(value, 0, 1) for value in values):
            what = f"there are {len(names)} {target.kind}, and a probability is of one of two classes"
            near.append((2, f"probability (for: {listed(values, 3)} lies between 0 and 1; against: {what})"))
        if any(" " in value for value in values):
            near.append((2, f"guesses or class and confidence (for: {values[0]!r}; against: the parts are no classes)"))
        if values and all(is_number(value, -float("inf")) for value in values):
            near.append((1, f"numbers (for: {values[0]}; against: {target.source} holds {target.kind})"))
        if not near:
            found = listed(map(repr, values), 3) or "no value"
            near.append((0, f"class (for: one column; against: {found} is none of {listed(names, 3)})"))
    shown = f"{listed(columns, 3)}: found {listed(map(repr, values), 3) or 'no value'}"
    advice = "data.labels: FILE:COLUMN says where the right classes stand, data.task what kind they are"
    if len(columns) == 1 and len(names) > 2 and values and all(is_number(value, 0, 1) for value in values):
        advice = (
            "data.positive_class names the classes whose probability it is, such as "
            f"[{', '.join(names[1:]) if len(names) < 9 else names[-1]}]"
        )
        advice = _rare_classes(target) + advice
    nearest = ", ".join(text for _, text in sorted(near, key=lambda pair: -pair[0])[:3])
    return f"{path}: {shown} beside the {target.kind} {listed(names)} (from {target.source}), which no form fits; " + (
        f"nearest: {nearest}; {advice}"
    )


def _rare_classes(target: Target) -> str:
    """Say which row has another class than nearly all others, if there are few such rows: it may be mistyped."""
    if target.kind != "classes":  # Others may have several values a row.
        return ""
    counts = Counter(value for (value,) in target.values.values())
    usual = {name for name, _ in counts.most_common(2)}
    rare = {row: value for row, (value,) in target.values.items() if value not in usual}
    if len(rare) > MAX_RARE * len(target.values):
        return ""
    row, value = next(iter(rare.items()))
    return (
        f"{len(rare):,} of {len(target.values):,} rows are neither {' nor '.join(sorted(usual))}, such as {row!r} with "
        f"{value!r}: correct them in {target.source} if they are mistyped; else "
    )


def doubts_of_metric(path: str, sample: Sample, submission: Submission, target: Target, metric: str) -> list[str]:
    """Return a line if a metric that was given can score the targets, but hardly what the sample shows.

    Parameters
    ----------
    path : str
        The sample's path.
    sample : Sample
    submission : Submission
        The form that was read from it.
    target : Target
        What is predicted.
    metric : str
        `data.metric`.

    Raises
    ------
    UserError
        If it can't score that at all.
    """
    column, fractions = sample.columns[0], [value for value in sample.values if is_number(value) and float(value) % 1]
    found = f"params.yaml: data.metric: found {metric}"
    if target.kind == "numbers" and {value for values in target.values.values() for value in values} <= {"0", "1"}:
        return [
            f"{found}, which makes numbers of {listed(target.names)}, whose values are 0 and 1 only; if they are "
            "classes or labels, the metric is another one, such as log_loss, roc_auc or accuracy"
        ]
    if submission.form == "grade" and fractions:
        return [
            f"{found}, for which whole grades are submitted, but {path} holds {fractions[0]!r} in {column}; if the "
            "competition scores probabilities, the metric is another one, such as log_loss or roc_auc"
        ]
    if submission.form in ("class", "grade", "labels") and metric in ("roc_auc", "log_loss"):
        fits = {
            "class": "accuracy or f1_macro",
            "grade": "quadratic_kappa or accuracy",
            "labels": "f1_samples or f1_macro",
        }
        line = (
            f"{found}, which scores probabilities, but {path} holds {submission.form} in {column}, and that is what is "
            f"submitted; the metric is rather another one, such as {fits[submission.form]}"
        )
        if submission.form == "labels":  # 0 and 1 have such a score, too.
            return [line]
        raise UserError(line)
    return []


def resolve_metric(submission: Submission | None, target: Target, data: Data) -> str:
    """Return the metric: the one of params.yaml, or the most common one of the form.

    Raises
    ------
    UserError
        If the metric of params.yaml can't score what is predicted.
    """
    if data.metric != "auto":
        if not re.fullmatch(METRICS_OF[target.kind], data.metric):
            what = {"classes": "one class a row", "labels": "labels", "grades": "grades", "numbers": "numbers"}
            fits = METRICS_OF[target.kind].replace(r"f[12]_\w+", "f1_… and f2_…").replace(r"\d+", "K").split("|")
            raise UserError(
                f"params.yaml: data.metric: found {data.metric}, and {target.source} holds {what[target.kind]}; "
                f"accepted: {', '.join(fits)}, or another data.task"
            )
        named = [name for name in target.names if not is_number(name)]
        if data.metric == "quadratic_kappa" and named:
            raise UserError(
                f"params.yaml: data.metric: found {data.metric}, which needs grades, and {target.source} holds the "
                f"names {listed(named, 3)}, which have no order; accepted: accuracy, f1_macro or another metric of "
                "classes, or numbers from 0 in place of the names"
            )
        return data.metric
    form = submission.form if submission else "none"
    if form == "guesses" and submission:
        return f"map_at_{submission.n_guesses}"
    by_form = {"hard": "accuracy", "class": "accuracy", "class_confidence": "gap", "long": "log_loss"}
    by_kind = {"grades": "quadratic_kappa", "numbers": "rmse", "classes": "log_loss"}
    if target.kind == "labels" and form != "long":
        return "roc_auc" if form == "probabilities" else "f1_samples"
    return by_kind[target.kind] if target.kind in ("grades", "numbers") else by_form.get(form, "log_loss")
