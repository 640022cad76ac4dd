"""What a degradation complains about reaches the caller as an error with a field."""

import numpy as np
import pytest

from services.errors import InvalidInput
from services.hosting.calls import run_degradation

IMAGES = np.full((1, 1, 32, 32), 0.5, np.float32)


@pytest.mark.parametrize(
    ("images", "parameters", "field"),
    [
        (IMAGES, {"operator": "blur"}, "degrade.operator"),
        (IMAGES, {"operator": "radial-kspace", "acceleration": 6}, "degrade.acceleration"),
        (IMAGES, {"operator": "low-dose-xray", "photons": -1.0}, "degrade.photons"),
        (IMAGES, {"operator": "low-dose-xray", "photons": 10.0, "dose": 1}, "degrade.dose"),
        (IMAGES[:, :, :31, :31], {"operator": "radial-kspace", "acceleration": 8}, "degrade"),
        (2 * IMAGES + 1, {"operator": "radial-kspace", "acceleration": 8}, "degrade"),
        (IMAGES, {"acceleration": 8}, "degrade"),
    ],
)
async def test_a_degradation_that_cannot_be_is_refused_by_field(images, parameters, field):
    with pytest.raises(InvalidInput) as caught:
        await run_degradation(images, ["a"], 1, parameters)
    assert (caught.value.field, caught.value.reason) == (field, "DEGRADATION_INVALID")
