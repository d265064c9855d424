"""A made-up study that looks like a real one: digits, a CNN and a p4 G-CNN, with and without augmentation."""

from pathlib import Path

import numpy as np
import pytest

from isotypic.studies.folder import write_record, write_study
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import (
    ArmRef,
    Cell,
    Cost,
    Curves,
    Froc,
    Measure,
    Outcome,
    Question,
    Record,
    Scores,
    StudyInfo,
)

ELEMENTS = ("0°", "90°", "180°", "270°")
DICE = Measure(name="Dice", better="has a higher Dice", prediction="segmentation")
CPM = Measure(
    name="CPM",
    better="has a higher CPM",
    prediction="class",
    unit="nodule",
    sample="candidate",
    overfitting="AUC of candidates",
)
ACCURACY = Measure(name="accuracy", better="is more accurate", prediction="class")
CONFUSED = {1: 7, 3: 8, 4: 9, 5: 6, 6: 9, 8: 3}


class FakeStudy:
    """Writes cells whose accuracy follows a learning curve; `advantage` is the built-in arm's gain in logits."""

    def __init__(self, folder, advantage=0.75, images=540, **grid):
        self.folder, self.advantage = Path(folder), advantage
        self.classes = grid.pop("classes", [str(digit) for digit in range(10)])
        self.models = grid.pop("models", ["CNN", "p4 G-CNN"])
        self.augmentations = grid.pop("augmentations", ["none", "rot90"])
        self.arms = grid.pop("arms", [])
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
            measure=ACCURACY,
            models=self.models,
            augmentations=self.augmentations,
            arms=self.arms,
            sizes=self.sizes,
            seeds=self.seeds,
            classes=self.classes,
            data={"source": "scikit-learn digits", "images": 1797, "shape": [1, 16, 16], "test": 540},
            settings={"training": {"optimizer": "adam", "learning_rate": 0.002, "steps": 1500, "batch_size": 50}},
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
        predicted = self._predicted(cell, generator)
        right = (predicted == self.labels).astype(float)
        tests = {"rotated": self._scores(predicted), "upright": self._scores(predicted[:1])}
        upright = tests["upright"].figures["accuracy"]
        train = min(1.0, 0.985 + 0.03 * generator.random() - 0.012 * np.log10(cell.size / 100))
        built_in = cell.model == self.models[-1]
        outcome = Outcome(
            group="C4",
            train=Scores(figures={"accuracy": train, "AUC": 1.0, "sensitivity": train, "specificity": 0.998}),
            tests=tests,
            per_rotation=dict(zip(ELEMENTS, right.mean(axis=1).tolist(), strict=True)),
            changed_images=int((predicted != predicted[0]).any(axis=0).sum()),
            overfitting_ratio=train / upright,
            curves=self._curves(train, upright, generator),
            cost=self._cost(built_in, cell, generator),
            equivariance_error=float(
                10 ** generator.normal(-14.6, 0.15)
                if built_in
                else 10 ** generator.normal(0.45 if cell.augmentation == "none" else 0.05, 0.06)
            ),
        )
        return Record(cell=cell, status="done", outcome=outcome), Predictions(self.labels, ELEMENTS, right)

    def _predicted(self, cell, generator):
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
        return np.stack(rows)

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
        figures = {
            "accuracy": accuracy,
            "AUC": min(1.0, accuracy + 0.05),
            "sensitivity": accuracy,
            "specificity": 1 - (1 - accuracy) / (count - 1),
        }
        return Scores(figures=figures, confusion=confusion.tolist())

    def _curves(self, train, test, generator):
        step = np.linspace(75, 1500, 20).astype(int)
        rise = 1 - np.exp(-step / (220 + 60 * generator.random()))
        noise = generator.normal(0, 0.008, (4, len(step)))
        train_accuracy = np.clip(0.1 + (train - 0.1) * rise + noise[0], 0, 1)
        validation = np.clip(0.1 + (test - 0.1) * rise**0.8 + 2 * noise[1], 0, 1)
        train_loss = 2.3 * np.exp(-step / 260) + 0.03 + np.abs(noise[2])
        validation_loss = 2.3 * np.exp(-step / 300) + 2.2 * (1 - test) + step / 6000 * (1 - test) + np.abs(noise[3])
        return Curves(
            score="accuracy",
            step=step.tolist(),
            train_loss=train_loss.tolist(),
            train_score=train_accuracy.tolist(),
            validation_loss=validation_loss.tolist(),
            validation_score=validation.tolist(),
        )

    def _cost(self, built_in, cell, generator):
        return Cost(
            parameters=25_130 if built_in else 24_810,
            train_seconds=(41 if built_in else 29) * (1 + 0.05 * generator.random()),
            steps=1500,
            latency_ms=(1.9 if built_in else 1.3) + 0.1 * generator.random(),
        )


class FakeSegmentation(FakeStudy):
    """The same grid with another measure: no classes, further figures, and curves with a score or without."""

    def __init__(self, folder, scored=True, **grid):
        super().__init__(folder, images=40, **grid)
        self.scored = scored

    def info(self):
        changed = {"measure": DICE, "further": ["AP at IoU .5", "PQ"], "classes": [], "title": "Nuclei"}
        return self._copied(super().info(), **changed)

    def finished(self, cell):
        record, _ = super().finished(cell)
        generator = np.random.default_rng([cell.seed, cell.size, *map(ord, cell.model)])
        built_in = cell.model == self.models[-1]
        level = 0.6 + 0.1 * built_in + 0.05 * np.log10(cell.size)
        noise = generator.normal(0, 0.05, (1 if built_in else len(ELEMENTS), len(self.labels)))
        scores = np.clip(level + np.broadcast_to(noise, (len(ELEMENTS), len(self.labels))), 0, 1)
        curves = record.outcome.curves
        silent = [] if self.scored else ["train_score", "validation_score"]
        nothing = {name: [float("nan")] * len(curves.step) for name in silent}
        outcome = self._copied(
            record.outcome,
            train=self._figures(scores),
            tests={"rotated": self._figures(scores), "upright": self._figures(scores[:1])},
            per_rotation=dict(zip(ELEMENTS, scores.mean(axis=1).tolist(), strict=True)),
            curves=self._copied(curves, score="foreground Dice", **nothing),
            figures={"differing pixels (%)": 0.0 if built_in else 0.25 + 0.01 * cell.seed},
            pictures={"examples": "image, truth, prediction, difference after rotation"},
        )
        names = np.array([f"{number:02d}.png" for number in range(len(self.labels))])
        return self._copied(record, outcome=outcome), Predictions(names, ELEMENTS, scores)

    def _figures(self, scores):
        return Scores(figures={"Dice": float(scores.mean()), "AP at IoU .5": 0.5, "PQ": None})

    @staticmethod
    def _copied(model, **changed):
        return type(model).model_validate({**dict(model), **changed})


class FakeDetection(FakeStudy):
    """The same grid with nodules that are tested, candidates that are trained on, and FROC curves."""

    def info(self):
        changed = {"measure": CPM, "classes": [], "title": "Nodules"}
        return FakeSegmentation._copied(super().info(), **changed)

    def finished(self, cell):
        record, predictions = super().finished(cell)
        level = float(predictions.scores[0].mean())
        rates = np.geomspace(0.125, 8, 25)
        froc = Froc(
            false_positives=rates.tolist(),
            sensitivity=(level * (0.7 + 0.1 * np.log2(rates))).tolist(),
            cpm=0.7 * level,
            cpm_nearest=0.69 * level,
            cpm_interval=(0.6 * level, 0.8 * level),
            intervals=[(0.5 * level, 0.9 * level)] * 7,
        )
        tests = {name: Scores(figures={"CPM": level}) for name in ("rotated", "upright")}
        outcome = FakeSegmentation._copied(record.outcome, tests=tests, froc=froc)
        return FakeSegmentation._copied(record, outcome=outcome), predictions


@pytest.fixture(scope="session")
def fake_detection():
    """The class, so that a test chooses the grid."""
    return FakeDetection


@pytest.fixture(scope="session")
def fake_segmentation():
    """The class, so that a test chooses the grid."""
    return FakeSegmentation


@pytest.fixture(scope="session")
def fake_study():
    """The class, so that a test chooses the grid."""
    return FakeStudy


@pytest.fixture(scope="session")
def six_arms():
    """A grid with gaps: five models, of which the first alone is augmented."""
    models = ["CNN", "CNN voting", "C2 G-CNN", "p4 G-CNN", "p4m G-CNN"]
    arms = [ArmRef(model=model, augmentation="none") for model in models]
    arms.insert(1, ArmRef(model="CNN", augmentation="rot90"))
    return {"models": models, "augmentations": ["none", "rot90"], "arms": arms}


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    """The whole study of 48 cells."""
    return FakeStudy(tmp_path_factory.mktemp("digits")).write()
