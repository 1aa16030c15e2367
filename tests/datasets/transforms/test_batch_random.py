"""Random numbers that depend on (seed, iteration, slot) only."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from mmseg.datasets import BatchRandom


def draw(random: BatchRandom) -> Tensor:
    """Three numbers a sample, ``(B, 3)``, through both kinds of draw."""
    return torch.stack([random.uniform(-1, 1), random.chance(0.5).float(), random.uniform(0, 9)], 1)


def slots(rank: int, world_size: int, batch_size: int) -> list[int]:
    return [j * world_size + rank for j in range(batch_size)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_a_split_batch_draws_what_the_whole_batch_draws(world_size: int) -> None:
    whole = draw(BatchRandom(7, 123, slots(0, 1, 4)))
    parts = [draw(BatchRandom(7, 123, slots(rank, world_size, 4 // world_size))) for rank in range(world_size)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_every_seed_iteration_and_slot_draws_its_own() -> None:
    cases = list(itertools.product((0, 1, -1), (0, 1, 2**20), (0, 1, 2, 3)))
    drawn = [tuple(BatchRandom(seed, iteration, [slot]).uniform(0, 1).tolist()) for seed, iteration, slot in cases]
    assert len(set(drawn)) == len(cases)


def test_the_same_again() -> None:
    assert torch.equal(draw(BatchRandom(1, 2, [5, 3])), draw(BatchRandom(1, 2, [5, 3])))
    random = BatchRandom(1, 2, [5, 3])
    assert not torch.equal(draw(random), draw(random))


def test_no_other_generator_is_asked_or_changed() -> None:
    first = draw(BatchRandom(0, 0, [0, 1]))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(draw(BatchRandom(0, 0, [0, 1])), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_ranges_and_shares() -> None:
    random = BatchRandom(0, 0, range(2000))
    assert len(random) == 2000
    values = random.uniform(-2.0, 6.0)
    assert values.dtype == torch.float32
    assert -2 <= values.min() < -1.9
    assert 5.9 < values.max() <= 6
    assert abs(values.mean() - 2) < 0.3
    assert random.chance(0.3).dtype == torch.bool
    assert abs(random.chance(0.3).float().mean() - 0.3) < 0.05
    assert not random.chance(0.0).any()
    assert random.chance(1.0).all()
