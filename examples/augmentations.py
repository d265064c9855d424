"""What the augmentations do to a photograph: sheets of a crop as it is and as they change it.

The photograph is scikit-image's immunohistochemical staining of colonic glands, 96 pixels of it; another one, and the
left upper corner of its crop, can be given. Draws that change nothing or come again are left out:

    python examples/augmentations.py --out docs/figures
    python examples/augmentations.py --out mine --image photo.png --corner 100 40
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage.data import immunohistochemistry
from skimage.io import imread
from torch import Tensor

from isotypic.data.augmentations.catalogue import augmentation
from isotypic.data.normalisation import Normalisation

SIDE, GAP, LABEL, DRAWS, COLOURS = 96, 4, 92, 5, 128
CORNER = (300, 262)
SEED = 2
SHEETS = {
    "moves": ("rot90", "flips", "d4"),
    "turns": ("rotate", "tilt45", "tilt90"),
    "warps": ("shear", "elastic"),
    "colour": ("light", "stain", "jitter"),
    "loss": ("blur", "lost-pixels", "appearance"),
    "reports": ("inception", "pathology"),
}


def crop_of(photograph: np.ndarray, corner: Sequence[int]) -> Tensor:
    """Return a crop ``[1, 3, SIDE, SIDE]`` uint8 of a photograph ``[H, W, 3]``."""
    y, x = corner
    found = photograph[y : y + SIDE, x : x + SIDE, :3]
    if found.shape != (SIDE, SIDE, 3):
        raise SystemExit(f"expected colours and {SIDE} pixels a side from the corner {y} {x}, found {found.shape}")
    return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))[None]


def drawn(name: str, crop: Tensor, normalisation: Normalisation) -> list[np.ndarray]:
    """Return the crop and the first different images that an augmentation makes of it, ``[SIDE, SIDE, 3]`` uint8."""
    torch.manual_seed(SEED)
    image = normalisation.apply(crop)
    batch = augmentation(name, normalisation)(image.repeat(64, 1, 1, 1))
    levels = normalisation.undo(torch.cat([image, batch])).round().clamp(0, 255).byte()
    different = {pixels.tobytes(): pixels for pixels in levels.permute(0, 2, 3, 1).contiguous().numpy()}
    return list(different.values())[: DRAWS + 1]


def sheet_of(names: Sequence[str], crop: Tensor, normalisation: Normalisation) -> Image.Image:
    """Return a row for each augmentation: its name, the crop, and draws; of few colours, so that files are small."""
    step = SIDE + GAP
    sheet = Image.new("RGB", (LABEL + step * (DRAWS + 1) + GAP, step * len(names) + GAP), "white")
    ink = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        top = GAP + step * row
        ink.text((GAP, top + SIDE // 2), name, "black", ImageFont.load_default(13), anchor="lm")
        for column, pixels in enumerate(drawn(name, crop, normalisation)):
            sheet.paste(Image.fromarray(pixels), (LABEL + step * column + GAP * (column > 0), top))
    return sheet.quantize(COLOURS, dither=Image.Dither.NONE)


def main(out: Path, photograph: np.ndarray, corner: Sequence[int] = CORNER) -> None:
    """Write ``augmentation-SHEET.png`` for each sheet."""
    crop = crop_of(photograph, corner)
    normalisation = Normalisation.of(crop.numpy())
    out.mkdir(parents=True, exist_ok=True)
    for sheet, names in SHEETS.items():
        sheet_of(names, crop, normalisation).save(out / f"augmentation-{sheet}.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--image", type=Path, help="a photograph in colours")
    parser.add_argument("--corner", type=int, nargs=2, default=CORNER, metavar=("Y", "X"), help="of the crop")
    asked = parser.parse_args()
    main(asked.out, imread(asked.image) if asked.image else immunohistochemistry(), asked.corner)
