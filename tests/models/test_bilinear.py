"""Bilinear resizing as products against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmseg.models.layers import resize_by_products


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("before", "after"), [((16, 16), (512, 512)), ((5, 7), (13, 9)), ((30, 45), (20, 44)), ((1, 3), (4, 3))])
def test_values_and_gradient_are_torchs(before: tuple[int, int], after: tuple[int, int], align_corners: bool) -> None:
    x = torch.randn(2, 3, *before, dtype=torch.float64, requires_grad=True)
    sent_back = torch.randn(2, 3, *after, dtype=torch.float64)
    found = resize_by_products(x, after, align_corners)
    expected = F.interpolate(x, size=after, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, sent_back)[0] for y in (found, expected)))


def test_autocast_changes_nothing() -> None:
    x = torch.randn(1, 4, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = resize_by_products(x, (512, 512))
    torch.testing.assert_close(found, F.interpolate(x, size=(512, 512), mode="bilinear"))


@pytest.mark.gpu
@pytest.mark.parametrize("align_corners", [False, True])
def test_heads_enlarge_so_on_a_gpu(align_corners: bool) -> None:
    from mmseg.models.decode_heads import FCNHead

    head = FCNHead(in_channels=8, channels=8, num_classes=4, multi_label=True, align_corners=align_corners).cuda()
    x = torch.randn(2, 4, 16, 16, device="cuda", requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        found = head._resize(x, (512, 512))
    assert "Interpolate" not in type(found.grad_fn).__name__ and "Upsample" not in type(found.grad_fn).__name__
    torch.testing.assert_close(found, F.interpolate(x, size=(512, 512), mode="bilinear", align_corners=align_corners))
