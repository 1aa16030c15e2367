"""The sums behind the sigmoid losses, against a literal float64 loop and numerical gradients."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch

from mmseg.models.losses import CrossEntropyLoss, LesionDiceLoss
from mmseg.models.losses.soft_counts import _blocks, soft_counts


def literal(logit: torch.Tensor, label: torch.Tensor, ignore: int) -> torch.Tensor:
    """``(6, B, C)``, pixel by pixel, by the definitions."""
    sums = torch.zeros(6, *logit.shape[:2], dtype=torch.float64)
    for b, c, y, x in torch.cartesian_prod(*(torch.arange(n) for n in logit.shape)).tolist():
        t = label[b, c, y, x].item()
        if t == ignore:
            continue
        p = 1 / (1 + math.exp(-logit[b, c, y, x].item()))
        sums[:, b, c] += torch.tensor([-t * math.log(p), -(1 - t) * math.log(1 - p), p * t, p, t, 1], dtype=torch.float64)
    return sums


def example(ignore: int = 255, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64) * 4
    label = torch.randint(0, 2, logit.shape, generator=generator, dtype=torch.uint8)
    label[torch.rand(logit.shape, generator=generator) < 0.2] = ignore
    return logit.to(dtype), label


@pytest.mark.parametrize("ignore", [255, 7])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_counts_equal_the_literal_loop(ignore: int, memory_format: torch.memory_format) -> None:
    logit, label = example(ignore)
    counts = soft_counts(logit.contiguous(memory_format=memory_format), label, ignore)
    torch.testing.assert_close(torch.stack(counts), literal(logit, label, ignore), rtol=1e-10, atol=1e-10)


def test_float32_stays_close_at_extreme_logits() -> None:
    logit = torch.tensor([-30.0, -15.0, 0.0, 15.0, 30.0], dtype=torch.float64).view(1, 1, 1, 5)
    label = torch.tensor([0, 1, 1, 0, 1], dtype=torch.uint8).view(1, 1, 1, 5)
    torch.testing.assert_close(
        torch.stack(soft_counts(logit.float(), label)).double(), literal(logit, label, 255), rtol=1e-6, atol=1e-6)


def test_float32_under_autocast() -> None:
    """A thousand sure positives: the sum of what is missed is a small difference of two large numbers."""
    logit, label = torch.full((1, 1, 40, 50), 5.0), torch.ones(1, 1, 40, 50, dtype=torch.uint8)
    label[..., 25:] = 0
    with torch.autocast("cpu", torch.bfloat16):
        counts = soft_counts(logit, label)
    assert {count.dtype for count in counts} == {torch.float32}
    torch.testing.assert_close(torch.stack(counts).double(), literal(logit, label, 255), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("planes", [1, 4, 1000])
def test_gradients_are_the_numerical_ones(planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmseg.models.losses.soft_counts as module

    monkeypatch.setattr(
        module, "_blocks", lambda x: [slice(i, i + planes) for i in range(0, len(x), planes)])
    logit, label = example()
    weights = torch.rand(4, *logit.shape[:2], dtype=torch.float64)

    def total(x: torch.Tensor) -> torch.Tensor:  # a clone, since gradcheck changes x behind its version counter
        return (torch.stack(soft_counts(x.clone(), label)[:4]) * weights).sum()

    assert torch.autograd.gradcheck(total, logit.requires_grad_())


@pytest.mark.parametrize("pixels", [2**18, 2**18 + 1, 2**17, 100_000, 7])
def test_the_blocks_of_a_cpu_are_all_planes_once(pixels: int) -> None:
    parts = _blocks(torch.empty(1, 1).expand(5, pixels))
    assert [i for part in parts for i in range(5)[part]] == list(range(5))


def test_ignored_pixels_have_no_gradient() -> None:
    logit, label = example()
    logit.requires_grad_()
    sum(c.sum() for c in soft_counts(logit, label)[:4]).backward()
    assert logit.grad is not None
    assert torch.all(logit.grad[label == 255] == 0) and torch.all(logit.grad[label != 255] != 0)


def test_what_is_remembered_is_never_stale() -> None:
    logit, label = example(dtype=torch.float32)
    first = soft_counts(logit, label)
    assert soft_counts(logit, label).overlap is first.overlap
    assert soft_counts(logit, 1 - label.clamp(max=1)).overlap is not first.overlap
    target = label.clone()
    positives = soft_counts(logit, target).positives.clone()
    target.fill_(1)
    assert (soft_counts(logit, target).positives > positives).all()
    assert not torch.equal(soft_counts(logit, label, 7).valid, soft_counts(logit, label, 255).valid)
    changed = logit.clone()
    before = soft_counts(changed, label).predicted
    changed.add_(1)
    assert not torch.equal(soft_counts(changed, label).predicted, before)
    with torch.no_grad():
        soft_counts(logit, label)
    assert soft_counts(logit.requires_grad_(), label).overlap.requires_grad


def losses() -> tuple[CrossEntropyLoss, LesionDiceLoss]:
    return CrossEntropyLoss(use_sigmoid=True), LesionDiceLoss()


def test_inference_mode() -> None:
    logit, label = example(dtype=torch.float32)
    expected = [loss(logit, label, ignore_index=255) for loss in losses()]
    with torch.inference_mode():
        for x, y in ((logit.clone(), label), (logit, label.clone())):
            torch.testing.assert_close([loss(x, y, ignore_index=255) for loss in losses()], expected)


def test_each_loss_of_leaves_has_a_backward_pass_of_its_own() -> None:
    logit, label = example(dtype=torch.float32)
    logit.requires_grad_()
    gradients = [torch.autograd.grad(loss(logit, label, ignore_index=255), logit)[0] for loss in (*losses(), *losses())]
    assert torch.equal(gradients[0], gradients[2]) and torch.equal(gradients[1], gradients[3])


@pytest.mark.parametrize("leaf", [True, False])
def test_logits_are_not_kept_alive(leaf: bool) -> None:
    logit, label = example(dtype=torch.float32)
    logit = logit.requires_grad_() if leaf else logit.requires_grad_() * 1
    reference = weakref.ref(logit)
    sum(loss(logit, label, ignore_index=255) for loss in losses()).backward()
    del logit
    gc.collect()
    assert reference() is None


def test_second_derivatives_are_refused() -> None:
    """They would leave out that the probabilities depend on the logits."""
    logit, label = example()
    logit.requires_grad_()
    (gradient,) = torch.autograd.grad(soft_counts(logit, label).overlap.square().sum(), logit, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
