import pytest
from pydantic import ValidationError

from isotypic.data.config import DataConfig


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
