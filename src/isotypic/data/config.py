"""What a request may say about its data: which set, where it lies, how it is prepared and split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Pixels = Annotated[int, Field(ge=1, le=16384)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class DataConfig(BaseModel):
    """The ``data`` section of a recipe; an unknown key or a value out of range is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field("digits", description="name of the data set: digits, mnist, medmnist or folder")
    path: Path | None = Field(None, description="where the data set lies (a file or a folder)")
    resize: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="size the images are brought to, one side or (height, width); none: as they are"
    )
    colour: Literal["keep", "grey", "rgb"] = Field(
        "keep", description="channels: keep, grey (0.2989 R + 0.587 G + 0.114 B) or rgb (grey three times)"
    )
    table: str | None = Field(
        None, description="CSV file inside the folder that lists the images; none: the only CSV file there"
    )
    file_column: str = Field("file", description="column of the table with the image, relative to the table")
    label_column: str = Field("label", description="column of the table with the class")
    subject_column: str = Field("patient", description="column with the patient; used where present")
    split_column: str = Field("split", description="column with train, validation or test; used where present")
    test_fraction: Fraction = Field(0.3, description="share of all images that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.15, description="share of the images outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) that images are brought to, or None to leave them as they are."""
        return (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
