import re

import pytest
from pydantic import ValidationError

from isotypic.configuration import validated
from isotypic.data.config import DataConfig, FourNucleiConfig, SegmentationDataConfig
from isotypic.errors import RequestError


def test_one_side_or_both():
    assert DataConfig().size is None
    assert DataConfig(resize=32).size == (32, 32)
    assert DataConfig(resize=[32, 48]).size == (32, 48)


def test_every_field_is_described():
    assert all(field.description for field in DataConfig.model_fields.values())


def test_round_trip():
    config = DataConfig(dataset="folder", path="somewhere", resize=(3, 4))
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    "wrong",
    [{"resise": 3}, {"resize": 0}, {"colour": "sepia"}, {"test_fraction": 1.0}, {"validation_fraction": 0.0}],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DataConfig(**wrong)


class TestSegmentation:
    def test_the_window(self):
        assert SegmentationDataConfig().window is None
        assert SegmentationDataConfig(crop=64).window == (64, 64)
        assert SegmentationDataConfig(crop=[64, 96]).window == (64, 96)

    def test_every_field_is_described(self):
        config = SegmentationDataConfig(four_nuclei={})
        for section in (config, config.sticks, config.four_nuclei, config.cremi, config.stack):
            assert all(field.description for field in type(section).model_fields.values())

    def test_round_trip(self):
        config = SegmentationDataConfig(dataset="bbbc038", path="somewhere", four_nuclei={"margin": 3}, crop=(3, 4))
        assert SegmentationDataConfig.model_validate(config.model_dump(mode="json")) == config
        assert SegmentationDataConfig(four_nuclei={}).four_nuclei == FourNucleiConfig()

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"crops": 3}, "unknown key 'crops': did you mean 'crop'?"),
            ({"sticks": {"counts": 3}}, "unknown key 'sticks.counts': did you mean 'count'?"),
            ({"cremi": {"target": "edges"}}, "cremi.target: input should be 'boundary' or 'neurons', received 'edges'"),
            ({"normalise": "batch"}, "normalise: input should be 'set' or 'image'"),
            ({"test_fraction": 1}, "test_fraction: input should be less than 1"),
        ],
    )
    def test_wrong_values_are_refused(self, wrong, message):
        with pytest.raises(RequestError, match=re.escape(message)):
            validated(SegmentationDataConfig, wrong, "data")
