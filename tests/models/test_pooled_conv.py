"""A pooled descriptor of a batch of one trains, and any other batch is normalised as usual."""

from __future__ import annotations

import pytest
import torch
from mmcv.cnn import ConvModule

from mmseg.models.layers import PooledConv, pooled_conv


def make(norm: str = "BN") -> PooledConv:
    torch.manual_seed(0)
    conv = PooledConv(8, 4, 1, norm_cfg={"type": norm}, act_cfg=None)
    conv.norm.running_mean.uniform_(-1, 1)
    conv.norm.running_var.uniform_(0.5, 2)
    return conv


def test_batch_of_one_uses_and_keeps_the_running_statistics() -> None:
    conv, x = make(), torch.randn(1, 8, 1, 1)
    expected = conv.eval()(x)
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    torch.testing.assert_close(conv.train()(x), expected)
    assert conv.norm.training
    for key, value in conv.state_dict().items():
        torch.testing.assert_close(value, before[key])


def test_a_plain_conv_module_fails_there() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ConvModule(8, 4, 1, norm_cfg={"type": "BN"})(torch.randn(1, 8, 1, 1))


@pytest.mark.parametrize("shape", [(2, 8, 1, 1), (1, 8, 1, 2)])
def test_anything_with_variance_is_plain(shape: tuple[int, ...]) -> None:
    pooled, plain = make(), ConvModule(8, 4, 1, norm_cfg={"type": "BN"}, act_cfg=None)
    plain.load_state_dict(pooled.state_dict())
    x = torch.randn(shape)
    torch.testing.assert_close(pooled(x), plain(x))
    torch.testing.assert_close(pooled.norm.running_mean, plain.norm.running_mean)


def test_synchronised_ranks_supply_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled_conv.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(pooled_conv.dist, "get_world_size", lambda: 2)
    x = torch.randn(1, 8, 1, 1)
    assert not make("SyncBN")._has_no_variance(x)
    assert make("BN")._has_no_variance(x)
    monkeypatch.setattr(pooled_conv.dist, "get_world_size", lambda: 1)
    assert make("SyncBN")._has_no_variance(x)


def test_group_norm_needs_no_help() -> None:
    conv = PooledConv(8, 4, 1, norm_cfg={"type": "GN", "num_groups": 2})
    assert conv(torch.randn(1, 8, 1, 1)).shape == (1, 4, 1, 1)
