"""A made-up study that looks like a real one: digits, a CNN and a p4 G-CNN, with and without augmentation."""

from pathlib import Path

import numpy as np
import pytest

from isotypic.studies.records import (
    ArmRef,
    Cell,
    Cost,
    Curves,
    Outcome,
    Predictions,
    Question,
    Record,
    Scores,
    StudyInfo,
    write_record,
    write_study,
)

ELEMENTS = ("0°", "90°", "180°", "270°")
CONFUSED = {1: 7, 3: 8, 4: 9, 5: 6, 6: 9, 8: 3}


class FakeStudy:
    """Writes cells whose accuracy follows a learning curve; `advantage` is the built-in arm's gain in logits."""

    def __init__(self, folder, advantage=0.75, images=540, **grid):
        self.folder, self.advantage = Path(folder), advantage
        self.classes = grid.pop("classes", [str(digit) for digit in range(10)])
        self.models = grid.pop("models", ["CNN", "p4 G-CNN"])
        self.augmentations = grid.pop("augmentations", ["none", "rot90"])
        self.sizes, self.seeds = grid.pop("sizes", [100, 300, 1000]), grid.pop("seeds", [0, 1, 2, 3])
        self.title = grid.pop("title", "Handwritten digits that may lie on any side")
        generator = np.random.default_rng(7)
        self.labels = generator.integers(len(self.classes), size=images)
        self.difficulty = generator.normal(0, 1.6, images)

    def info(self):
        return StudyInfo(
            name="digits",
            title=self.title,
            description="Is it better to build the four rotations into the network or to show them in training?",
            question=Question(
                built_in=ArmRef(model=self.models[-1], augmentation=self.augmentations[0]),
                augmented=ArmRef(model=self.models[0], augmentation=self.augmentations[-1]),
            ),
            models=self.models,
            augmentations=self.augmentations,
            sizes=self.sizes,
            seeds=self.seeds,
            classes=self.classes,
            data={"source": "scikit-learn digits", "images": 1797, "shape": [1, 16, 16], "test": 540},
            settings={"optimizer": {"name": "adam", "lr": 0.002}, "steps": 1500, "batch": 64},
            environment={"isotypic": "0.1.0", "torch": "2.13.0", "commit": "0193720", "machine": "2 cores"},
        )

    def write(self, skip=(), failed=()):
        info = self.info()
        write_study(self.folder, info)
        for number, cell in enumerate(info.cells()):
            folder = self.folder / "cells" / cell.identifier
            if number in failed:
                write_record(folder, Record(cell=cell, status="failed", error='loss is <NaN> & "lost"'))
            elif number not in skip:
                write_record(folder, *self.finished(cell))
        return self.folder

    def finished(self, cell: Cell):
        generator = np.random.default_rng([cell.seed, cell.size, *map(ord, cell.model + cell.augmentation)])
        predictions = self._predictions(cell, generator)
        right = (predictions.predicted == self.labels).mean(axis=1)
        tests = {"rotated": self._scores(predictions.predicted), "upright": self._scores(predictions.predicted[:1])}
        train = min(1.0, 0.985 + 0.03 * generator.random() - 0.012 * np.log10(cell.size / 100))
        built_in = cell.model == self.models[-1]
        outcome = Outcome(
            group="C4",
            train=Scores(accuracy=train, auc=1.0, sensitivity=train, specificity=0.998, confusion=[[1]]),
            tests=tests,
            per_rotation=dict(zip(ELEMENTS, right.tolist(), strict=True)),
            disagreeing_images=int((predictions.predicted != predictions.predicted[0]).any(axis=0).sum()),
            overfitting_ratio=train / tests["upright"].accuracy,
            curves=self._curves(train, tests["upright"].accuracy, generator),
            cost=self._cost(built_in, cell, generator),
            equivariance_error=float(
                10 ** generator.normal(-14.6, 0.15)
                if built_in
                else 10 ** generator.normal(0.45 if cell.augmentation == "none" else 0.05, 0.06)
            ),
        )
        return Record(cell=cell, status="done", outcome=outcome), predictions

    def _predictions(self, cell, generator):
        built_in, augmented = cell.model == self.models[-1], cell.augmentation != "none"
        skill = 0.9 + 1.15 * np.log2(cell.size / 100) / 1.6 + generator.normal(0, 0.1)
        skill += self.advantage if built_in else 0.35 * (not augmented)
        lost = 0.0 if built_in or augmented else 2.6 + 0.2 * np.log2(cell.size / 100)
        shared = generator.logistic(0, 0.8, len(self.labels))
        rows = []
        for element in range(len(ELEMENTS)):
            own = 0 if built_in else generator.logistic(0, 0.5, len(self.labels))
            margin = 1.3 * skill - (lost if element % 4 else 0) - self.difficulty + shared + own
            rows.append(np.where(margin > 0, self.labels, self._wrong(cell.seed)))
        return Predictions(self.labels, ELEMENTS, np.stack(rows))

    def _wrong(self, seed):
        count = len(self.classes)
        generator = np.random.default_rng(seed)
        other = (self.labels + generator.integers(1, count, len(self.labels))) % count
        twin = np.array([CONFUSED.get(int(label), int(label) + 1) % count for label in self.labels])
        return np.where((generator.random(len(self.labels)) < 0.6) & (twin != self.labels), twin, other)

    def _scores(self, predicted):
        count = len(self.classes)
        confusion = np.zeros((count, count), int)
        for row in predicted:
            np.add.at(confusion, (self.labels, row), 1)
        accuracy = float((predicted == self.labels).mean())
        return Scores(
            accuracy=accuracy,
            auc=min(1.0, accuracy + 0.05),
            sensitivity=accuracy,
            specificity=1 - (1 - accuracy) / (count - 1),
            confusion=confusion.tolist(),
        )

    def _curves(self, train, test, generator):
        step = np.linspace(75, 1500, 20).astype(int)
        rise = 1 - np.exp(-step / (220 + 60 * generator.random()))
        noise = generator.normal(0, 0.008, (4, len(step)))
        train_accuracy = np.clip(0.1 + (train - 0.1) * rise + noise[0], 0, 1)
        validation = np.clip(0.1 + (test - 0.1) * rise**0.8 + 2 * noise[1], 0, 1)
        train_loss = 2.3 * np.exp(-step / 260) + 0.03 + np.abs(noise[2])
        validation_loss = 2.3 * np.exp(-step / 300) + 2.2 * (1 - test) + step / 6000 * (1 - test) + np.abs(noise[3])
        return Curves(
            step=step.tolist(),
            train_loss=train_loss.tolist(),
            train_accuracy=train_accuracy.tolist(),
            validation_loss=validation_loss.tolist(),
            validation_accuracy=validation.tolist(),
        )

    def _cost(self, built_in, cell, generator):
        return Cost(
            parameters=25_130 if built_in else 24_810,
            train_seconds=(41 if built_in else 29) * (1 + 0.05 * generator.random()),
            steps=1500,
            latency_ms=(1.9 if built_in else 1.3) + 0.1 * generator.random(),
        )


@pytest.fixture(scope="session")
def fake_study():
    """The class, so that a test chooses the grid."""
    return FakeStudy


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    """The whole study of 48 cells."""
    return FakeStudy(tmp_path_factory.mktemp("digits")).write()
