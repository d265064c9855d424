"""What images on the sphere look like, and what it looks like that a network commutes with rotations, or does not.

Two sheets: digits as they are projected, turned, and the classes of their points; and, of a spherical and an ordinary
network with random weights, the answer to an image, the answer to the turned image turned back, and their difference.

    python examples/spheres.py --out docs/figures
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy.spatial.transform import Rotation
from torch import Tensor

from isotypic.data.catalogue import load_sphere
from isotypic.data.config import SphereDataConfig
from isotypic.data.sphere.samples import Samples, Turns
from isotypic.data.sphere.view import FROM_SOUTH, following, seen
from isotypic.models.catalogue import build_of_points
from isotypic.models.hourglass import HourglassConfig
from isotypic.models.s2cnn import S2CNNConfig
from isotypic.nn.sphere.transform import SphericalTransform
from isotypic.studies.systems.png import COLOURS

SIDE, GAP, LABEL, TITLE = 132, 8, 128, 20
NIGHT, DIMMEST = "#20262e", 0.55
SHOWN, SEED = 5, 3
EQUIVARIANCE, DIGITS = "sphere-equivariance.png", "sphere-digits.png"

Pictures = list[np.ndarray]


def ball(shades: np.ndarray, view: Rotation, colours: Sequence[str]) -> np.ndarray:
    """Return the picture of a sphere of shades ``[2 b, 2 b]`` in 0..1, from the first colour to the last."""
    shown, facing = seen(shades, view, SIDE)
    stops = np.array([ImageColor.getrgb(colour) for colour in colours], float)
    places = np.linspace(0, 1, len(stops))
    lit = np.stack([np.interp(shown, places, stops[:, channel]) for channel in range(3)], -1)
    lit *= (DIMMEST + (1 - DIMMEST) * facing)[..., None]
    return np.where(facing[..., None] > 0, lit, 255).round().astype(np.uint8)


def classes_ball(classes: np.ndarray, view: Rotation) -> np.ndarray:
    """Return the picture of classes of points, a colour each."""
    palette = (NIGHT, *COLOURS, "#F5F5F5", "#8C564B", "#7FD4A8")
    return ball(classes / (len(palette) - 1), view, palette)


def digits(count: int, bandwidth: int) -> list[tuple[str, Pictures]]:
    """Return rows of digits as they are and turned, with the classes of their points."""
    found = load_sphere(SphereDataConfig(bandwidth=bandwidth, digits=count), Path())
    places, words = np.arange(SHOWN), {1: "one digit", 4: "four digits"}[count]
    rows = []
    for turns, name in ((None, words), (Turns((SEED,)), f"{words},\nturned")):
        samples = Samples(found.fields, found.splits.test, bandwidth, turns)
        views = [FROM_SOUTH if turns is None else following(turn) for turn in samples.rotations(places)]
        images = zip(samples.images(places)[:, 0] / 255, views, strict=True)
        rows.append((name, [ball(image, view, (NIGHT, "#ffffff")) for image, view in images]))
        classes = zip(samples.classes(places), views, strict=True)
        if turns is None:
            rows.append(("classes", [classes_ball(each, view) for each, view in classes]))
    return rows


def answers(bandwidth: int) -> tuple[list[tuple[str, Pictures]], dict[str, float]]:
    """Return a row a network, and the largest difference of each in deviations of its answer."""
    found = load_sphere(SphereDataConfig(bandwidth=bandwidth), Path())
    samples = Samples(found.fields, found.splits.test[7:8], bandwidth)
    transform = SphericalTransform(bandwidth).double()
    image = transform.synthesise(transform.analyse(torch.from_numpy(samples.images(np.array([0]))).double() / 255))
    turn = Turns((SEED,)).of(np.array([2]), 3)[0]
    torch.manual_seed(SEED)
    networks = {
        "S2CNN": build_of_points(S2CNNConfig(bandwidth=bandwidth), 1, 11),
        "CNN": build_of_points(HourglassConfig(), 1, 11),
    }
    rows, errors = [], {}
    for name, network in networks.items():
        answer, back = _answers(network.double().eval(), transform, image, turn)
        errors[name] = float((back - answer).abs().max() / answer.std())
        rows.append((name, [ball(_shade(image), FROM_SOUTH, (NIGHT, "#ffffff")), *_pictures(answer, back)]))
    return rows, errors


def _answers(
    network: torch.nn.Module, transform: SphericalTransform, image: Tensor, turn: Rotation
) -> tuple[Tensor, Tensor]:
    """Return one channel of the answer to an image, and of that to the turned image, turned back."""
    with torch.inference_mode():
        found = [network(image), network(transform.rotate(image, turn))]
    upright, turned = (transform.synthesise(transform.analyse(each))[:, 1:2] for each in found)
    return upright, transform.rotate(turned, turn.inv())


def _pictures(answer: Tensor, back: Tensor) -> Pictures:
    low, high = float(answer.min()), float(answer.max())
    answers = [(each - low) / (high - low) for each in (answer, back)]
    shades = ("#0B3C5D", "#5FA8D3", "#F4E9CD")
    shown = [ball(each[0, 0].clamp(0, 1).numpy(), FROM_SOUTH, shades) for each in answers]
    difference = ((back - answer).abs() / answer.std()).clamp(0, 1)[0, 0].numpy()
    return [*shown, ball(difference, FROM_SOUTH, ("#ffffff", "#D55E00", "#4d1300"))]


def _shade(image: Tensor) -> np.ndarray:
    return image[0, 0].clamp(0, 1).numpy()


def sheet(rows: Sequence[tuple[str, Pictures]], columns: Sequence[str] = ()) -> Image.Image:
    """Return rows of pictures with their names, and the names of the columns above."""
    top = TITLE if columns else 0
    width = LABEL + max(len(pictures) for _, pictures in rows) * (SIDE + GAP)
    drawn = Image.new("RGB", (width, top + len(rows) * (SIDE + GAP)), "white")
    pen, letters = ImageDraw.Draw(drawn), ImageFont.load_default(14)
    for column, name in enumerate(columns):
        middle = LABEL + column * (SIDE + GAP) + SIDE // 2
        pen.text((middle, top // 2), name, "black", letters, anchor="mm")
    for number, (name, pictures) in enumerate(rows):
        upper = top + number * (SIDE + GAP)
        pen.text((4, upper + SIDE // 2), name, "black", letters, anchor="lm")
        for column, picture in enumerate(pictures):
            drawn.paste(Image.fromarray(picture), (LABEL + column * (SIDE + GAP), upper))
    return drawn


def _save(drawn: Image.Image, path: Path) -> None:
    drawn.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main(out: Path, bandwidth: int = 32) -> dict[str, float]:
    """Write both sheets, and return the largest difference of each network."""
    out.mkdir(parents=True, exist_ok=True)
    _save(sheet([*digits(1, bandwidth), *digits(4, bandwidth)]), out / DIGITS)
    rows, errors = answers(bandwidth)
    named = [(f"{name}\nmax {errors[name]:.2f} std", pictures) for name, pictures in rows]
    columns = ("image", "answer", "turned, back", "difference")
    _save(sheet(named, columns), out / EQUIVARIANCE)
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--bandwidth", type=int, default=32)
    chosen = parser.parse_args()
    print(main(chosen.out, chosen.bandwidth))
