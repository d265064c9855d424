"""The data sets by name, and what a path is most likely to hold: images with classes, with labels, or candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from isotypic.data.config import CandidateDataConfig, DataConfig, SegmentationDataConfig, SphereDataConfig
from isotypic.data.datasets import (
    bbbc038,
    cifar,
    cremi,
    digits,
    folder,
    labelled_folder,
    luna16,
    medmnist,
    mitochondria,
    mnist,
    nodules,
    pcam,
    sphere_digits,
    sphere_grids,
    stack,
    touching,
)
from isotypic.data.image_set import ImageSet
from isotypic.data.labelled.images import LabelledImages, refuse_small
from isotypic.data.readers import latlon, micrograph
from isotypic.data.readers.hdf5 import SUFFIXES
from isotypic.data.readers.scan import scan_name, scans_in
from isotypic.data.readers.tree import open_tree
from isotypic.data.scans.candidates import CandidateSet
from isotypic.data.scans.extraction import Progress
from isotypic.data.scans.listing import ScanListing
from isotypic.data.sphere.sphere_set import SphereSet
from isotypic.data.synthetic import sticks
from isotypic.errors import RequestError, chosen

Loader = Callable[[DataConfig, Path], ImageSet]
LabelledLoader = Callable[[SegmentationDataConfig, Path], LabelledImages]
SphereLoader = Callable[[SphereDataConfig, Path], SphereSet]
CandidateLoader = Callable[[CandidateDataConfig, Path, Progress | None], CandidateSet]

DATASETS: Mapping[str, Loader] = MappingProxyType(
    {
        "digits": digits.load,
        "mnist": mnist.load,
        "medmnist": medmnist.load,
        "cifar": cifar.load,
        "pcam": pcam.load,
        "touching": touching.load,
        "mitochondria": mitochondria.load,
        "folder": folder.load,
    }
)
LABELLED: Mapping[str, LabelledLoader] = MappingProxyType(
    {
        "sticks": sticks.load,
        "bbbc038": bbbc038.load,
        "cremi": cremi.load,
        "stack": stack.load,
        "labelled_folder": labelled_folder.load,
    }
)
CANDIDATES: Mapping[str, CandidateLoader] = MappingProxyType({"luna16": luna16.load, "nodules": nodules.load})
LISTINGS: Mapping[str, Callable[[CandidateDataConfig, Path, Progress | None], ScanListing]] = MappingProxyType(
    {"luna16": lambda config, cache, progress: luna16.listed(config), "nodules": nodules.listed}
)

SPHERES: Mapping[str, SphereLoader] = MappingProxyType(
    {
        "digits": sphere_digits.load,
        "mnist": sphere_digits.load,
        "equirectangular": sphere_grids.load_folder,
        "grids": sphere_grids.load_file,
    }
)


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Load the data set that ``config`` names.

    Args:
        config: the data section of a recipe.
        cache: folder for decoded images; may be removed at any time between runs.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    return chosen("data set", config.dataset, DATASETS)(config, cache)


def load_labelled(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Load the data set for segmentation that ``config`` names.

    Args:
        config: the data section of a recipe for segmentation.
        cache: folder for decoded images; may be removed at any time between runs.

    Raises:
        RequestError: the name is unknown, the data set refuses what it finds, or an image is smaller than
            ``config.minimum_side``.
    """
    labelled = chosen("data set", config.dataset, LABELLED)(config, cache)
    refuse_small(labelled, config.minimum_side)
    return labelled


def load_candidates(config: CandidateDataConfig, cache: Path, progress: Progress | None = None) -> CandidateSet:
    """Load the candidates that ``config`` names.

    Args:
        config: the data section of a recipe for candidates.
        cache: folder for the patches; may be removed at any time between runs.
        progress: told of how many scans the patches are cut out.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    return chosen("data set", config.dataset, CANDIDATES)(config, cache, progress)


def list_candidates(config: CandidateDataConfig, cache: Path, progress: Progress | None = None) -> ScanListing:
    """Return what is known of the scans that ``config`` names and the candidates in them; no scan is opened.

    Args:
        config: the data section of a recipe for candidates.
        cache: folder for scans that are made.
        progress: told how many of these are made.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    return chosen("data set", config.dataset, LISTINGS)(config, cache, progress)


def load_sphere(config: SphereDataConfig, cache: Path) -> SphereSet:
    """Load the set of spherical images that ``config`` names.

    Args:
        config: the data section of a recipe for spherical images.
        cache: folder for decoded images; may be removed at any time between runs.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    return chosen("data set", config.dataset, SPHERES)(config, cache)


def recognise(path: Path) -> str:
    """Return the name of the data set that reads a path.

    Args:
        path: an ``.npz`` file (medmnist), an IDX file or a folder with one (mnist), a folder with PatchCamelyon's
            HDF5 files (pcam) or CIFAR's batches (cifar), a folder or a zip archive of BBBC038 (touching) or with
            sections and masks of mitochondria (mitochondria), or another folder (folder).

    Raises:
        RequestError: nothing is there, or it is a file of another kind.
    """
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder; give --data PATH with one that exists")
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
        known = {"pcam": pcam.recognises, "cifar": cifar.recognises, "mnist": mnist.recognises}
        found = next((name for name, recognises in known.items() if recognises(names)), None)
        return found or _of_patches(open_tree(path).names) or "folder"
    if path.suffix.lower() == ".npz":
        return "medmnist"
    if mnist.recognises([path.name]):
        return "mnist"
    found = _of_patches(open_tree(path).names) if path.suffix.lower() == ".zip" else None
    if found:
        return found
    raise RequestError(
        f"{path}: not a data set: expected an .npz file, MNIST's IDX images, BBBC038's archive, one of sections and "
        "mitochondria, or a folder of images"
    )


def _of_patches(names: Sequence[str]) -> str | None:
    """Return the name of the data set whose patches are cut out of some files, or None."""
    if bbbc038.recognises(names):
        return "touching"
    return "mitochondria" if stack.recognises(names, labels="mitochondria") else None


def recognise_labelled(path: Path) -> str:
    """Return the name of the data set for segmentation that reads a path.

    Args:
        path: an HDF5 file or a folder of them (cremi); or a folder or a zip archive with ``<id>/images/<id>.png``
            and ``<id>/masks`` (bbbc038), with ``raw`` and ``membranes`` (stack), or another (labelled_folder).

    Raises:
        RequestError: nothing is there, or it is a file of another kind.
    """
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return "cremi"
    names = open_tree(path).names
    if path.is_dir() and any(Path(name).suffix.lower() in SUFFIXES for name in names):
        return "cremi"
    if bbbc038.recognises(names):
        return "bbbc038"
    return "stack" if stack.recognises(names) else "labelled_folder"


def recognise_candidates(path: Path) -> str:
    """Return the name of the data set of candidates that reads a path.

    Args:
        path: a folder with scans and their candidates (luna16).

    Raises:
        RequestError: nothing is there, or something else.
    """
    if path.is_dir() and luna16.recognises(open_tree(path).names):
        return "luna16"
    what = "another folder" if path.is_dir() else "a file" if path.exists() else "nothing"
    raise RequestError(f"{path}: expected a folder with scans and candidates_V2.csv as of LUNA16, received {what}")


def recognise_sphere(path: Path) -> str:
    """Return the name of the set of spherical images that reads a path.

    Args:
        path: an IDX file of MNIST or a folder with one (mnist), a file of grids (grids), or another folder
            (equirectangular).

    Raises:
        RequestError: nothing is there, or something else.
    """
    if path.is_file() and path.suffix.lower() in (*latlon.ARCHIVES, *latlon.NETCDF):
        return "grids"
    found = recognise(path)
    if found in ("mnist", "folder"):
        return {"mnist": "mnist", "folder": "equirectangular"}[found]
    raise RequestError(
        f"{path}: expected MNIST's IDX images, a folder of equirectangular images, or a file of latitudes and "
        f"longitudes ({', '.join((*latlon.ARCHIVES, *latlon.NETCDF))}), received a set {found!r}"
    )


def recognise_either(path: Path) -> str:
    """Return the name of the data set of any kind that reads a path; of classes, where those of labels do too.

    Raises:
        RequestError: nothing is there, or it is a file of another kind.
    """
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return recognise_labelled(path)
    if path.suffix.lower() != ".zip" and not path.is_dir():
        return recognise(path)
    names = open_tree(path).names
    if path.is_dir() and luna16.recognises(names):
        return recognise_candidates(path)
    tables = any(Path(name).suffix.lower() == ".csv" and "/" not in name for name in names)
    labels = labelled_folder.recognises(names) or stack.recognises(names)
    volumes = any(Path(name).suffix.lower() in SUFFIXES for name in names) and not pcam.recognises(names)
    if (labels and not tables and not bbbc038.recognises(names)) or volumes:
        return recognise_labelled(path)
    return recognise(path)


def holds_scans(path: Path) -> bool:
    """Return whether a path is a scan, the folder of a DICOM series, or a folder of scans without candidates.

    A folder with images, or with the files of a data set, holds none.
    """
    if not path.is_dir():
        return scan_name(path) is not None
    names = open_tree(path).names
    suffixes = {Path(name).suffix.lower() for name in names}
    if luna16.recognises(names) or suffixes & (micrograph.SUFFIXES | SUFFIXES):
        return False
    return bool(scans_in(path))
