from __future__ import annotations

import pytest
import torch

from roomseg.models.portable_student import portable_student
from roomseg.models.student import build_student
from roomseg.models.volumes import EMPTY

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(("variant", "skip"), [("T", True), ("B", False)])
def test_one_script_gives_the_students_logits_at_any_size(variant: str, skip: bool) -> None:
    student = build_student(variant, 30, skip=skip, seed=1).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.5)  # away from the small initial values, where all logits are alike
    script = portable_student(student)
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 4, 70, 33, 20), (2, 4, 5, 6, 7)):
        x = torch.rand(shape, generator=generator) * 2 - 1
        x[..., 1::3] = torch.tensor(EMPTY).view(1, 4, 1, 1, 1)
        with torch.no_grad():
            expected, got = student(x), script(x)
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
        assert expected.std() > 0.01
