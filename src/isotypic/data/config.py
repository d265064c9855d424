"""What a request may say about its data: which set, where it lies, how it is prepared and split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from isotypic.configuration import Config

Pixels = Annotated[int, Field(ge=1, le=16384)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Level = Annotated[int, Field(ge=0, le=255)]
Micrometres = Annotated[float, Field(gt=0)]
Millimetres = Annotated[float, Field(gt=0, le=100)]
PatchSide = Annotated[int, Field(ge=1, le=512)]
Subset = Annotated[int, Field(ge=0)]
ScanSide = Annotated[float, Field(ge=16, le=512)]
Count = Annotated[int, Field(ge=0, le=1000)]


class Fractions(Protocol):
    """How much of a set is held out, and by which draw."""

    @property
    def test_fraction(self) -> float:
        """Share of all images that goes to a test set made here."""

    @property
    def validation_fraction(self) -> float:
        """Share of the images outside the test set that goes to a validation set made here."""

    @property
    def split_seed(self) -> int:
        """Seed of the split."""


class TouchingConfig(Config):
    """Patches around nuclei that touch another one or are alone."""

    size: int = Field(80, ge=16, le=1024, description="side of a patch")
    gap: float = Field(1.5, gt=0, le=64, description="pixels; a nucleus within them touches")
    apart: float = Field(8, gt=0, le=64, description="pixels; without a nucleus within them one is alone")
    levels: int = Field(32, ge=1, description="groups of equal mean grey level that have as many of either class")
    seed: int = Field(0, ge=0, description="seed of the choice of patches")


class MitochondriaConfig(Config):
    """Patches of a stack of sections around points in mitochondria and away from them."""

    images: str = Field("raw", description="folder with the sections, or TIFF file without its suffix")
    labels: str = Field("mitochondria", description="folder with the masks, or TIFF file without its suffix")
    size: tuple[PatchSide, PatchSide, PatchSide] = Field((8, 64, 64), description="voxels (z, y, x) of a patch")
    shrink: int = Field(2, ge=1, le=16, description="pixels of a section, along y and x, that make a voxel")
    thickness: float = Field(5, gt=0, le=100, description="of a section, in voxel sides; for distances")
    blocks: int = Field(4, ge=1, le=64, description="blocks along y and along x; a patch lies in one of them")
    apart: float = Field(6, gt=0, description="voxel sides between two points of one class, at least")
    away: float = Field(
        12, gt=0, description="voxel sides between a point of the other class and mitochondria, at least"
    )
    most: int = Field(32, ge=1, description="points of one mitochondrion in one block, at most")
    levels: int = Field(16, ge=1, description="groups of equal mean grey level that have as many of either class")
    seed: int = Field(0, ge=0, description="seed of the choice of points")


class NodulesConfig(Config):
    """Synthetic scans of lung with nodules, made from a seed."""

    scans: int = Field(270, ge=1, le=100_000, description="scans for training and validation, in subsets 0 to 8")
    test_scans: int = Field(40, ge=1, le=100_000, description="scans for the test, subset 9")
    size: tuple[ScanSide, ScanSide, ScanSide] = Field((56, 96, 96), description="of a scan (z, y, x), in mm")
    nodules: tuple[Count, Count] = Field((1, 4), description="least and most nodules a scan")
    distractors: tuple[Count, Count] = Field((16, 24), description="least and most things that look like nodules")
    excluded: tuple[Count, Count] = Field((0, 2), description="least and most findings that do not count")
    oriented: bool = Field(
        False,
        description="nodules and distractors, as many of either on average, differ in their direction along z alone: "
        "symmetry cannot help",
    )
    seed: int = Field(0, ge=0, description="seed of the scans; more scans leave the first ones as they are")

    @model_validator(mode="after")
    def _ordered(self) -> NodulesConfig:
        for name in ("nodules", "distractors", "excluded"):
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name}: expected the least before the most, received {[least, most]}")
        return self


class DataConfig(BaseModel):
    """The ``data`` section of a recipe; an unknown key or a value out of range is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(
        "digits",
        description="name of the data set: digits, mnist, medmnist, cifar, pcam, touching, mitochondria or folder",
    )
    path: Path | None = Field(None, description="where the data set lies (a file or a folder)")
    resize: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="size the images are brought to, one side or (height, width); none: as they are"
    )
    colour: Literal["keep", "grey", "rgb"] = Field(
        "keep", description="channels: keep, grey (0.2989 R + 0.587 G + 0.114 B) or rgb (grey three times)"
    )
    normalise: Literal["set", "imagenet"] = Field(
        "set",
        description="set: zero mean and unit variance over the training images; imagenet: the mean and deviation of "
        "ImageNet, which pretrained networks expect of RGB images",
    )
    table: str | None = Field(
        None, description="CSV file inside the folder that lists the images; none: the only CSV file there"
    )
    file_column: str = Field("file", description="column of the table with the image, relative to the table")
    label_column: str = Field("label", description="column of the table with the class")
    subject_column: str = Field("patient", description="column with the patient; used where present")
    split_column: str = Field("split", description="column with train, validation or test; used where present")
    class_of_patient: bool = Field(
        False,
        description="the class of an image is its patient's: images need a patient, and one in two classes is refused",
    )
    touching: TouchingConfig = Field(TouchingConfig(), description="of the data set touching")
    mitochondria: MitochondriaConfig = Field(MitochondriaConfig(), description="of the data set mitochondria")
    test_fraction: Fraction = Field(0.3, description="share of all images that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.15, description="share of the images outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) that images are brought to, or None to leave them as they are."""
        return (self.resize, self.resize) if isinstance(self.resize, int) else self.resize


class SticksConfig(Config):
    """Scattered sticks made from a seed; lengths are in pixels of a 256×256 image and scale with ``size``."""

    size: int = Field(256, ge=32, le=4096, description="side of the square images; all lengths scale with size / 256")
    count: int = Field(4, ge=1, le=64, description="sticks an image")
    length: tuple[float, float] = Field(
        (90, 90), description="range of whole lengths, drawn once a stick; (80, 100) is the common alternative"
    )
    width: float = Field(15, ge=8, le=64, description="width of every stick")
    fill: Level | Literal["random"] = Field(
        128, description="grey level inside the outline; random: a colour of its own for every stick (RGB images)"
    )
    train_images: int = Field(512, ge=1, description="training images")
    validation_images: int = Field(16, ge=1, description="validation images")
    test_images: int = Field(16, ge=1, description="test images")
    seed: int = Field(0, ge=0, description="seed of the images; the parts are independent of each other's size")

    @model_validator(mode="after")
    def _ordered(self) -> SticksConfig:
        shortest, longest = self.length
        if not self.width <= shortest <= longest <= 256:
            raise ValueError(f"length: expected a range within {self.width:g}..256, received {list(self.length)}")
        return self


class FourNucleiConfig(Config):
    """Crops of exactly ``nuclei`` whole nuclei, padded to one size with the mean of their image."""

    nuclei: int = Field(4, ge=1, le=64, description="whole nuclei a crop")
    size: int = Field(256, ge=32, le=4096, description="side of the padded image; larger crops are not taken")
    margin: int = Field(8, ge=0, le=256, description="pixels kept around the nuclei where no other nucleus is met")
    train_images: int = Field(500, ge=1, description="training crops")
    validation_images: int = Field(16, ge=1, description="validation crops")
    test_images: int = Field(16, ge=1, description="test crops")
    seed: int = Field(0, ge=0, description="seed of the choice of crops")


class CremiConfig(Config):
    """What is learned from the neurons of a CREMI volume."""

    target: Literal["boundary", "neurons"] = Field(
        "boundary", description="boundary: two classes, from the changes of label in a section; neurons: instances"
    )
    distance: float = Field(0, ge=0, le=64, description="widen the boundary to all pixels within so many pixels of it")


class StackConfig(Config):
    """The two parts of a stack of sections: folders of images of equal names, or TIFF files of several pages."""

    images: str = Field("raw", description="folder with the sections, or TIFF file without its suffix")
    labels: str = Field("membranes", description="folder with the two-valued masks, or TIFF file without its suffix")
    invert: bool = Field(False, description="masks mark the class with zero, as ISBI 2012 marks its membranes")


class SegmentationDataConfig(Config):
    """The ``data`` section of a recipe for segmentation; an unknown key or a value out of range is refused."""

    dataset: str = Field("sticks", description="name of the data set: sticks, bbbc038, cremi, stack or labelled_folder")
    path: Path | None = Field(None, description="where the data set lies (a file, a folder or a zip archive)")
    colour: Literal["keep", "grey", "rgb"] = Field(
        "keep", description="channels: keep, grey (0.2989 R + 0.587 G + 0.114 B) or rgb (grey three times)"
    )
    crop: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="window of a training batch, one side or (height, width); none: whole images of one size"
    )
    balance: bool = Field(
        False,
        description="draw windows of rare kinds of images (stained among fluorescent) as often as of frequent ones",
    )
    minimum_side: Pixels = Field(16, description="an image with a shorter side is refused")
    normalise: Literal["set", "image"] = Field(
        "set",
        description="set: zero mean and unit variance over the training images; image: each image's own percentiles",
    )
    pixel_size: Micrometres | None = Field(
        None, description="side of a pixel in micrometres; none: what the file says, if it says anything"
    )
    sticks: SticksConfig = Field(SticksConfig(), description="of the data set sticks")
    four_nuclei: FourNucleiConfig | None = Field(
        None, description="of bbbc038: crops of four nuclei ({} for the defaults); none: the whole images"
    )
    cremi: CremiConfig = Field(CremiConfig(), description="of the data set cremi")
    stack: StackConfig = Field(StackConfig(), description="of the data set stack")
    test_fraction: Fraction = Field(0.1, description="share of all images that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.1, description="share of the images outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")

    @property
    def window(self) -> tuple[int, int] | None:
        """The (height, width) of a training window, or None for whole images."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def pixel_sides(self) -> tuple[float, float] | None:
        """The (height, width) of a pixel in micrometres, or None to take the file's."""
        return None if self.pixel_size is None else (self.pixel_size, self.pixel_size)


class SphereDataConfig(Config):
    """The ``data`` section of a recipe for spherical images; an unknown key or a value out of range is refused."""

    dataset: str = Field(
        "digits",
        description="name of the data set: digits or mnist, projected to the sphere; equirectangular, a folder of such "
        "images; or grids, a file of latitudes and longitudes",
    )
    path: Path | None = Field(None, description="where the data set lies (a file or a folder)")
    bandwidth: Annotated[int, Field(ge=2, le=256)] = Field(
        50, description="b, of the grid of 2 b x 2 b points that images are sampled on"
    )
    digits: Literal[1, 4] = Field(1, description="images on one canvas")
    resize: Pixels | None = Field(
        None,
        description="side that digits are brought to first, none: 28; rows of equirectangular images, none: all",
    )
    canvas: Pixels | None = Field(
        None, description="side of the canvas in pixels, on which each has a random place; none: just large enough"
    )
    threshold: float = Field(
        150, ge=0, lt=255, description="grey level above which a point is of the class, not background"
    )
    normalise: Literal["set"] = Field("set", description="zero mean and unit variance over the training images")
    rotation_seed: int = Field(0, ge=0, description="seed of the rotations of validation and test images")
    canvas_seed: int = Field(0, ge=0, description="seed of the places on the canvases, and of what stands together")
    test_fraction: Fraction = Field(0.3, description="share of all images that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.15, description="share of the images outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")


class CandidateDataConfig(Config):
    """The ``data`` section of a recipe for candidates in scans; an unknown key or a value out of range is refused."""

    dataset: str = Field("luna16", description="name of the data set: luna16 or nodules")
    path: Path | None = Field(None, description="folder with the scans and the CSV files")
    size: tuple[PatchSide, PatchSide, PatchSide] = Field((12, 72, 72), description="points (z, y, x) of a patch")
    spacing: tuple[Millimetres, Millimetres, Millimetres] = Field(
        (1.25, 0.5, 0.5), description="millimetres (z, y, x) between the points, whatever the scan's own are"
    )
    window: tuple[float, float] = Field((-1000, 300), description="Hounsfield units that become -1 and 1")
    nodules: NodulesConfig = Field(NodulesConfig(), description="of the data set nodules, which is made")
    normalise: Literal["set"] = Field("set", description="zero mean and unit variance over the training patches")
    negatives: int | None = Field(
        None,
        ge=1,
        description="candidates that are no nodule that are kept of a scan, at most; none: all. Of scans in "
        "test_subsets all are kept, as false positives a scan are counted there",
    )
    negatives_seed: int = Field(0, ge=0, description="seed of their choice; that of a scan depends on no other scan")
    missing: Literal["refuse", "skip"] = Field(
        "refuse", description="points in scans that are not in the folder: refuse the folder, or leave them out"
    )
    test_subsets: tuple[Subset, ...] = Field(
        (), description="numbers of the folders subset0, subset1, ... whose scans are the test set; none: made here"
    )
    validation_subsets: tuple[Subset, ...] = Field((), description="likewise for the validation set")
    test_fraction: Fraction = Field(0.1, description="share of all candidates that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.1, description="share of the candidates outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")

    @model_validator(mode="after")
    def _sensible(self) -> CandidateDataConfig:
        if not self.window[0] < self.window[1]:
            raise ValueError(f"window: expected (low, high) with low < high, received {list(self.window)}")
        both = sorted(set(self.test_subsets) & set(self.validation_subsets))
        if both:
            raise ValueError(
                f"test_subsets and validation_subsets: expected different subsets, received {both[0]} twice"
            )
        return self
