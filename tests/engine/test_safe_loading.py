"""Files from elsewhere: nothing in them is executed, whichever command reads them."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import MakeConfig, train

from mmseg.apis import init_model
from mmseg.engine.checkpoint import checkpoint_config, read_checkpoint, write_checkpoint
from mmseg.engine.dataset_info import input_differences
from mmseg.engine.trained_images import trained_images
from mmseg.utils.errors import UserError


class Payload:
    """Pickled, it is an order to make a folder."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.victim),)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What must not come into being."""
    return tmp_path / "victim"


@pytest.fixture(scope="module")
def content(trained: Path) -> dict[str, Any]:
    """What a checkpoint holds; read only."""
    return read_checkpoint(trained)


@pytest.fixture
def checkpoint(content: dict[str, Any]) -> dict[str, Any]:
    """What a published checkpoint holds, to be changed: without the optimiser's state, two thirds of its tensors."""
    return dict(state_dict=dict(content["state_dict"]), meta=copy.deepcopy(content["meta"]))


@pytest.fixture(params=["zip", "before 1.6", "pickle"])
def crafted(request: pytest.FixtureRequest, content: dict[str, Any], tmp_path: Path, victim: Path) -> Path:
    """A whole checkpoint with one more entry, in each of torch's formats."""
    path = tmp_path / "crafted.pth"
    harmful = content | dict(extra=Payload(victim))
    if request.param == "pickle":
        path.write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


COMMANDS: dict[str, Callable[[Path, Path, Path], tuple[str | Path, ...]]] = {
    "train --resume": lambda config, file, image: ("train.py", config, "--no-check", "--resume", file),
    "train --resume, found": lambda config, file, image: ("train.py", config, "--no-check", "--resume"),
    "train --load-from": lambda config, file, image: ("train.py", config, "--no-check", "--load-from", file),
    "train, Pretrained": lambda config, file, image: ("train.py", config, "--no-check"),
    "test": lambda config, file, image: ("test.py", config, file),
    "inference": lambda config, file, image: ("inference.py", image, "--checkpoint", file),
    "inference --config": lambda config, file, image: ("inference.py", image, "--checkpoint", file, "--config", config),
}


@pytest.mark.filterwarnings("ignore:.*instance named of", "ignore:Detected pickle protocol")
@pytest.mark.parametrize(("crafted", "command"), [
    *(("zip", command) for command in COMMANDS),
    *((older, command) for older in ("before 1.6", "pickle") for command in ("inference", "train, Pretrained")),
], indirect=["crafted"])  # two ways to a file, one for checkpoints and one for first weights, and all that lead there
def test_no_command_runs_what_is_in_a_file(
    command: str, crafted: Path, victim: Path, run_config: MakeConfig, tiny_data: Path, tmp_path: Path,
    call: Callable[..., int], capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "tiny.py"
    pretrained = dict(type="Pretrained", checkpoint=str(crafted)) if "Pretrained" in command else None
    run_config(tmp_path / "w", model__backbone__init_cfg=pretrained).dump(config)
    if command.endswith("found"):
        (tmp_path / "w").mkdir()
        shutil.copy(crafted, tmp_path / "w/latest.pth")
    image = next((tiny_data / "images/test").iterdir())
    assert call(*COMMANDS[command](config, crafted, image)) == 2
    message = capsys.readouterr().err
    assert "crafted.pth: " in message or "latest.pth: " in message
    assert "could run code" in message or "can run code" in message
    assert not victim.exists()


def test_the_crafted_file_does_what_it_is_accused_of(crafted: Path, victim: Path) -> None:
    """The negative control."""
    with contextlib.suppress(RuntimeError):
        torch.load(crafted, weights_only=False)
    assert victim.is_dir()


@pytest.mark.parametrize("name", ["os.mkdir", "pathlib.Path.touch", "mmengine.runner.load_checkpoint", "torch.load"])
@pytest.mark.parametrize("place", ["model", "backbone", "norm_cfg", "init_cfg"])
def test_a_configuration_inside_cannot_name_what_to_call(
    name: str, place: str, checkpoint: dict[str, Any], victim: Path, tmp_path: Path
) -> None:
    """mmengine's registries import a dotted name and call it with the other keys."""
    config = json.loads(checkpoint["meta"]["config_json"])
    order = dict(type=name, path=str(victim))
    inner = dict(model=config, backbone=config["model"], norm_cfg=config["model"]["backbone"], init_cfg=config["model"])[place]
    inner[place] = order
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: the configuration inside is refused.*--config"):
        init_model(None, tmp_path / "a.pth")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["a.yaml", "a.pkl", "http://localhost/a.yaml", "missing.json", "missing.npy"])
def test_weights_of_classes_are_read_from_plain_files_alone(
    name: str, checkpoint: dict[str, Any], victim: Path, tmp_path: Path
) -> None:
    """mmengine's reader of YAML calls what a file names, and it takes addresses, too."""
    (tmp_path / "a.yaml").write_text(f"!!python/object/apply:os.mkdir [{str(victim)!r}]")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Payload(victim)))
    config = json.loads(checkpoint["meta"]["config_json"])
    path = name if "/" in name else str(tmp_path / name)
    config["model"]["decode_head"][0]["loss_decode"] = dict(type="CrossEntropyLoss", class_weight=path)
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match="class_weight: "):
        init_model(None, tmp_path / "a.pth")
    assert not victim.exists()


HIDDEN = dict(
    type="ConvModule", in_channels=1, out_channels=1, kernel_size=1, padding_mode="os.mkdir")
"""mmcv's layer takes what pads it by name, and calls it with ``padding``."""


@pytest.mark.parametrize("place", ["act_cfg", "norm_cfg", "conv_cfg", "backbone", "train_transforms"])
def test_a_type_under_another_key_is_not_called(place: str, checkpoint: dict[str, Any], victim: Path, tmp_path: Path) -> None:
    config = json.loads(checkpoint["meta"]["config_json"])
    order = HIDDEN | dict(padding=str(victim))
    if place == "train_transforms":
        config["data_preprocessor"][place] = [dict(type="RandomChoiceResize", scales=[1], resize_type="os.getcwd")]
    elif place == "backbone":
        config["model"][place] = order
    else:
        config["model"]["decode_head"][0][place] = order
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"is refused, its type .(ConvModule|RandomChoiceResize). could run code"):
        init_model(None, tmp_path / "a.pth")
    assert not victim.exists()


def test_that_layer_would_call_it(victim: Path) -> None:
    """The negative control."""
    from mmseg.registry import MODELS

    with contextlib.suppress(Exception):
        MODELS.build(HIDDEN | dict(padding=str(victim)))
    assert victim.is_dir()


def test_a_transforms_name_is_no_layers(
    checkpoint: dict[str, Any], victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known in one registry, it is looked for in another, and then among modules."""
    (tmp_path / "BatchRandomAffine.py").write_text(f"import os; os.mkdir({str(victim)!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = json.loads(checkpoint["meta"]["config_json"])
    config["model"]["backbone"]["norm_cfg"] = dict(type="BatchRandomAffine")
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match="is refused, its type 'BatchRandomAffine'"):
        init_model(None, tmp_path / "a.pth")
    assert not victim.exists()


@pytest.mark.parametrize("dataset", [
    dict(type="stranger_data.X"), dict(type="LesionDataset", _scope_="stranger_data"), ["x"], "x", dict(type="stranger_data"),
    dict(type="SyntheticFundusDataset", split="test", pipeline=[dict(type="os.mkdir", path="VICTIM")]),
    dict(type="SyntheticFundusDataset", split="test", data_root=dict(type="os.mkdir", path="VICTIM")),
])
def test_nothing_inside_is_built_where_it_is_only_compared_with(
    dataset: Any, checkpoint: dict[str, Any], victim: Path, run_config: MakeConfig, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a config is named beside the checkpoint: its images and sizes are held against those of the training."""
    (tmp_path / "stranger_data.py").write_text(f"import os; os.mkdir({str(victim)!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    config, written = run_config(tmp_path / "w"), json.loads(checkpoint["meta"]["config_json"])
    written["train_dataloader"]["dataset"] = json.loads(json.dumps(dataset).replace("VICTIM", str(victim)))
    for loader in (written["train_dataloader"], "x", ["x"], None):
        written["train_dataloader"] = loader
        trained_images(written, config)
        input_differences(config, written)
    assert not victim.exists() and "stranger_data" not in sys.modules


def test_initialisers_are_not_built_and_may_be_named(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    config = json.loads(checkpoint["meta"]["config_json"])
    first = dict(type="Pretrained", checkpoint="none.pth")
    config["model"]["decode_head"][1]["shallow_init_cfg"] = first
    override = dict(type="Constant", name="x", val=1)
    config["model"]["backbone"]["init_cfg"] = [dict(type="Kaiming", layer="Conv2d", override=override)]
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    assert init_model(None, tmp_path / "a.pth", "cpu").load_report is not None


@pytest.mark.parametrize("place", ["model", "backbone", "norm_cfg", "data_preprocessor", "randomness", "visualizer", "_scope_"])
def test_modules_of_a_name_are_not_imported(
    place: str, checkpoint: dict[str, Any], victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine takes a bare ``type`` for a module where no class has this name, and a scope for a package."""
    for name in ("stranger_module", "stranger_scope.registry"):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import os; os.mkdir({str(victim)!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = json.loads(checkpoint["meta"]["config_json"])
    foreign = dict(type="stranger_module")
    if place in ("model", "data_preprocessor", "randomness", "visualizer"):
        config[place] = foreign
    elif place == "_scope_":
        config["model"]["decode_head"][0]["act_cfg"] = dict(type="ReLU", _scope_="stranger_scope")
    else:
        (config["model"] if place == "backbone" else config["model"]["backbone"])[place] = foreign
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with contextlib.suppress(UserError):  # what is never built may name what it likes
        init_model(None, tmp_path / "a.pth", "cpu")
    assert not victim.exists()
    assert not {"stranger_module", "stranger_scope"} & set(sys.modules)


@pytest.mark.parametrize(("place", "value", "message"), [
    ("model.backbone.base_channels", 2**20, "it asks for a size of 1048576, expected at most 8192"),
    ("test_dataloader.dataset.size", [60000, 60000], "expected at most 134 million pixels"),
    ("model.test_cfg.flips", ["horizontal"] * 1000, "test_cfg.flips: got 1000, of which some are the same"),
])
def test_sizes_that_fill_the_memory(place: str, value: Any, message: str, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    config = json.loads(checkpoint["meta"]["config_json"])
    *keys, last = place.split(".")
    inner = config
    for key in keys:
        inner = inner[key]
    inner[last] = value
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match=message):
        init_model(None, tmp_path / "a.pth")


def test_parts_of_parts(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    """A kilobyte that holds 10 to the power of 30 parts, by references, is refused before anybody writes them out."""
    nested: list[Any] = ["x"] * 10
    for _ in range(30):
        nested = [nested] * 10
    for key in ("thresholds", "metrics"):
        torch.save(checkpoint | dict(meta=checkpoint["meta"] | {key: {"MA": nested}}), tmp_path / "a.pth")
        with pytest.raises(UserError, match="'meta' holds more than 1,000,000 parts"):
            init_model(None, tmp_path / "a.pth")


@pytest.mark.parametrize("tensor", [
    torch.as_strided(torch.zeros(1), (10**10,), (0,)), torch.eye(3).to_sparse(),
    torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
], ids=["larger than its file", "sparse", "quantised"])
def test_tensors_that_are_more_than_what_is_stored(tensor: torch.Tensor, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    weights = checkpoint["state_dict"]
    spoiled = weights | {"extra": tensor}
    for content in (checkpoint | {"state_dict": spoiled}, spoiled, checkpoint | {"raw_state_dict": {"extra": tensor}}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"a\.pth: "):
            read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(("key", "wrong"), [
    ("classes", ["MA", "MA", "EX", "SE"]), ("classes", ["M\nA", "HE", "EX", "SE"]),
    ("classes", [1, 2, 3, 4]), ("classes", 4), ("palette", [[0, 0, 300]] * 4), ("palette", [[0, 0, 0]] * 3), ("palette", "red"),
])
def test_names_that_become_files(key: str, wrong: Any, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    checkpoint["meta"][key] = wrong
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match="classes and palette: got "):
        init_model(None, tmp_path / "a.pth")


def test_mmengine_would_call_it(victim: Path) -> None:
    """The negative control."""
    from mmseg.registry import MODELS

    with contextlib.suppress(TypeError):  # "expected an object", after the fact
        MODELS.build(dict(type="os.mkdir", path=str(victim)))
    assert victim.is_dir()


@pytest.mark.parametrize("text", ["{", 3, None, "[]", '"text"'])
def test_a_configuration_inside_that_is_none(text: Any) -> None:
    with pytest.raises(UserError, match=r"a\.pth: .*--config"):
        checkpoint_config(dict(state_dict={}, meta=dict(config_json=text)), "a.pth")


def test_the_text_that_mmengine_would_execute_is_not(
    content: dict[str, Any], victim: Path, run_config: MakeConfig, tmp_path: Path
) -> None:
    """mmengine executes ``meta['config']`` when it resumes."""
    harmful = content["meta"] | dict(config=f"import os; os.mkdir({str(victim)!r})")
    write_checkpoint(content | dict(meta=harmful), tmp_path / "latest.pth")
    init_model(None, tmp_path / "latest.pth")
    train(run_config(tmp_path, resume=True, train_cfg__max_iters=5))
    assert not victim.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["torch 1.6 on", "before 1.6"])
def test_checkpoints_of_mmcv_0_are_read(zipped: bool, content: dict[str, Any], run_config: MakeConfig, tmp_path: Path) -> None:
    """Their keys, as mmcv's ``save_checkpoint`` wrote them, and a prefix of DataParallel."""
    old = dict(
        meta=dict(epoch=3, iter=40000, mmcv_version="1.3.9", time="Mon", CLASSES=("MA", "HE"), config="x = 1", hook_msgs={}),
        state_dict=OrderedDict((f"module.{name}", tensor) for name, tensor in content["state_dict"].items()),
        optimizer=content["optimizer"],
    )
    path = tmp_path / "old.pth"
    torch.save(old, path, _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(path)["meta"]["iter"] == 40000
    config = run_config(
        tmp_path, load_from=str(path), train_cfg__max_iters=1, param_scheduler=[], optim_wrapper__optimizer__lr=0.0)
    weights = train(config).model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in content["state_dict"].items() if name.endswith("weight"))
    with pytest.raises(UserError, match=r"old\.pth: holds no .*cannot be resumed.*--load-from"):
        train(run_config(tmp_path, load_from=str(path), resume=True))
