"""Colours of a data set, against NumPy's own mean and standard deviation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from releases import write_ddr

from mmseg.datasets.reading import read_image
from mmseg.datasets.statistics import colour_statistics


def test_the_mean_over_photographs_of_each_ones_own(tmp_path: Path) -> None:
    write_ddr(tmp_path)
    paths = sorted((tmp_path / "train/image").glob("*.[jJ]*"))
    images = [read_image(path).reshape(-1, 3).astype(np.float64) for path in paths]
    mean, std = colour_statistics(paths)
    assert len(images) == 3
    np.testing.assert_allclose(mean, np.mean([image.mean(0) for image in images], 0), atol=1e-9)
    np.testing.assert_allclose(std, np.mean([image.std(0) for image in images], 0), atol=1e-9)


@pytest.mark.idrid
@pytest.mark.slow
def test_idrids_are_those_that_the_field_uses(idrid_root: Path) -> None:
    mean, std = colour_statistics(sorted((idrid_root / "images/train").glob("*.jpg")))
    assert mean == pytest.approx([116.513, 56.437, 16.309], abs=5e-4)
    assert std == pytest.approx([80.206, 41.232, 13.293], abs=5e-4)
