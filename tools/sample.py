"""Draw a small sample competition: cats with pointed ears and stripes, dogs with hanging ears and spots.

    python -m tools.sample FOLDER

Writes `train/cat.0.jpg` …, `test/1.jpg` … and `sample_submission.csv`, as Kaggle ships dogs vs cats. The pictures are
drawn, not photographed: they show that the pipeline runs, not how good it is.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from gap_ensemble.messages.errors import UserError, run

CLASS_NAMES = ("cat", "dog")


def main() -> None:
    """Draw into the folder that the command line names."""
    if len(sys.argv) != 2:
        raise UserError(f"tools.sample: found {len(sys.argv) - 1} arguments; give the one folder to draw into")
    draw_competition(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: a drawn sample competition")


def draw_competition(folder: Path, n_train: int = 200, n_test: int = 40, seed: int = 0) -> dict[str, str]:
    """Draw a competition of two classes, half the pictures each.

    Parameters
    ----------
    folder : Path
        Where to write; made if it is not there.
    n_train, n_test : int
        Number of pictures.
    seed : int
        Seed of everything that varies.

    Returns
    -------
    dict of str to str
        The class of every test id, which a competition would not tell.
    """
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
    for i in range(n_train):
        name = CLASS_NAMES[i % 2]
        draw_animal(name, rng).save(folder / f"train/{name}.{i // 2}.jpg", quality=90)
    answers = {}
    for i in range(1, n_test + 1):
        answers[str(i)] = CLASS_NAMES[int(rng.integers(2))]
        draw_animal(answers[str(i)], rng).save(folder / f"test/{i}.jpg", quality=90)
    pd.DataFrame({"id": list(answers), "label": 0.5}).to_csv(folder / "sample_submission.csv", index=False)
    return answers


def draw_animal(name: str, rng: np.random.Generator) -> Image.Image:
    """Draw one animal on a plain background, at a size, place and in colours of its own.

    Parameters
    ----------
    name : {"cat", "dog"}
    rng : Generator
        Varies the picture.

    Returns
    -------
    Image
        RGB, 140 to 260 pixels a side.
    """
    width, height = (int(side) for side in rng.integers(140, 260, 2))
    background, fur, marks = (_colour(rng, low, high) for low, high in ((120, 256), (90, 230), (0, 90)))
    image = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(image)
    radius = min(width, height) * rng.uniform(0.28, 0.36)
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.48, 0.58)

    for side in (-1, 1):
        if name == "cat":
            ear = [(0.95, -0.35), (0.75, -1.35), (0.2, -0.85)]
            draw.polygon([(x + side * dx * radius, y + dy * radius) for dx, dy in ear], fur)
        else:
            left, right = sorted((x + side * 0.75 * radius, x + side * 1.3 * radius))
            draw.ellipse([left, y - 0.6 * radius, right, y + 0.9 * radius], marks)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fur)
    for _ in range(12):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.2, 0.7)
        mark_x, mark_y = x + distance * np.cos(angle), y + distance * np.sin(angle)
        if name == "cat":
            length = radius * 0.35
            draw.line([mark_x - length, mark_y, mark_x + length, mark_y], marks, int(max(2, radius * 0.05)))
        else:
            spot = radius * rng.uniform(0.1, 0.18)
            draw.ellipse([mark_x - spot, mark_y - spot, mark_x + spot, mark_y + spot], marks)
    for side in (-1, 1):
        eye_x, eye = x + side * 0.4 * radius, radius * 0.1
        draw.ellipse([eye_x - eye, y - 0.3 * radius - eye, eye_x + eye, y - 0.3 * radius + eye], "black")
    return image


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


if __name__ == "__main__":
    run(main)
