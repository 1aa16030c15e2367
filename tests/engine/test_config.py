"""Reading configurations: environment, overrides, and every mistake told at once, with the nearest right name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg.apis import register_all_modules
from mmseg.engine import check_config, load_config
from mmseg.utils.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_all_modules()


@pytest.fixture
def config(demo_config: Path) -> Config:
    return load_config(demo_config)


def findings(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        check_config(config)
    return str(caught.value)


class TestLoad:
    def test_a_windows_path_in_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.py"
        path.write_text("root = '{{$IDRID_ROOT:data/IDRID}}'\n")
        monkeypatch.setenv("IDRID_ROOT", r"C:\Users\me\IDRID")
        with pytest.raises(UserError, match=r"got IDRID_ROOT=C:\\Users\\me\\IDRID, expected a path with '/'"):
            load_config(path)

    def test_environment_value_default_and_empty(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.py"
        path.write_text("root = '{{$SOME_ROOT:data/IDRID}}'\n")
        monkeypatch.delenv("SOME_ROOT", raising=False)
        assert load_config(path).root == "data/IDRID"
        monkeypatch.setenv("SOME_ROOT", "")
        assert load_config(path).root == "data/IDRID"
        assert os.environ["SOME_ROOT"] == ""
        monkeypatch.setenv("SOME_ROOT", "/elsewhere")
        assert load_config(path).root == "/elsewhere"

    @pytest.mark.parametrize("name", ["IDRID_ROOT", "SDCNET_HOME"])
    def test_the_shipped_config_reads_the_environment(self, repo: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        path = repo / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py"
        monkeypatch.setenv(name, "/some/where")
        config = load_config(path)
        found = dict(
            IDRID_ROOT=config.train_dataloader.dataset.dataset.data_root, SDCNET_HOME=config.model.backbone.init_cfg.checkpoint
        )[name]
        assert found.startswith("/some/where")

    def test_a_variable_of_a_base_that_a_file_sets_in_vain(
        self, repo: Path, demo_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The base has copied its own into the data sets before."""
        path = tmp_path / "mine.py"
        base = f"_base_ = [{str(demo_config)!r}]\n"
        path.write_text(f"{base}image_size = (64, 48)\nlr = 1e-4\noptim_wrapper = dict(optimizer=dict(lr=lr))\n")
        load_config(path)
        assert f"warning: {path}: image_size: given a value and used nowhere in this file" in capsys.readouterr().err
        path.write_text(f"{base}image_size = (64, 48)\ntest_dataloader = dict(dataset=dict(size=image_size))\n")
        for good in (path, *sorted((repo / "configs").glob("*net/*.py"))):
            load_config(good)
        assert "warning" not in capsys.readouterr().err

    def test_overrides_reach_nested_keys_and_list_items(self, demo_config: Path) -> None:
        config = load_config(demo_config, {
            "train_dataloader.batch_size": 3,
            "data_preprocessor.train_transforms.0.crop_size": (96, 128),
            "model.decode_head.1.fuse_channels": [32, 32],
            "randomness.seed": 7,
        })
        assert config.train_dataloader.batch_size == 3
        assert tuple(config.data_preprocessor.train_transforms[0].crop_size) == (96, 128)
        assert config.data_preprocessor.train_transforms[0].type == "BatchRandomAffine"
        assert config.data_preprocessor.train_transforms[1].type == "BatchPhotometricDistortion"
        assert list(config.model.decode_head[1].fuse_channels) == [32, 32]
        assert config.model.decode_head[0].type == "RefineASPPHead"
        assert config.randomness.seed == 7

    @pytest.mark.parametrize("key", ["data_preprocessor.train_transforms.9.crop_size", "model.decode_head.first.channels"])
    def test_an_override_that_names_no_place(self, demo_config: Path, key: str) -> None:
        with pytest.raises(UserError, match="--cfg-options does not fit"):
            load_config(demo_config, {key: 1})

    def test_missing_file_names_the_nearest(self, demo_config: Path) -> None:
        with pytest.raises(UserError, match=f"no such config file; did you mean '{demo_config.name}'"):
            load_config(demo_config.with_name(demo_config.name.replace("demo", "dema")))
        with pytest.raises(UserError, match=r"no such config file$"):
            load_config("no/such/folder.py")
        with pytest.raises(UserError, match="no such config file"):
            load_config(demo_config.parent)

    @pytest.mark.parametrize("text", ["model = dict(", "model = undefined", "_base_ = ['./none.py']", "1 / 0"])
    def test_a_broken_file_is_told_with_its_name(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "broken.py"
        path.write_text(text + "\n")
        with pytest.raises(UserError, match=r"broken\.py: cannot be read as a config: \w+"):
            load_config(path)


def test_the_file_at_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf, base = tmp_path / "leaf.py", tmp_path / "base.py"
    base.write_text("x = 1\nmodel = undefined\n")
    leaf.write_text("_base_ = ['./base.py']\n")
    with pytest.raises(UserError, match=r"base\.py: cannot be read as a config: NameError: .*\(line 2\)"):
        load_config(leaf)
    base.write_text("_base_ = ['./leaf.py']\n")
    with pytest.raises(UserError, match=r"name each other in a circle: .*leaf\.py -> .*base\.py -> "):
        load_config(leaf)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_module.py").write_text("import not_installed_xyz\n")
    leaf.write_text("custom_imports = dict(imports=['own_module'])\n")
    with pytest.raises(UserError, match=r"custom_imports cannot be imported: .*No module named .not_installed_xyz"):
        load_config(leaf)


class TestCheck:
    def test_a_misspelt_scalar(self, demo_config: Path) -> None:
        config = load_config(demo_config)
        config.load_form = "x.pth"
        with pytest.raises(UserError, match="load_form: no such key; did you mean 'load_from'"):
            check_config(config)

    @pytest.mark.parametrize(("place", "wrong", "right"), [
        ("model", "SDCNett", "SDCNet"),
        ("model.backbone", "ResNetV1x", "ResNetV1c"),
        ("model.decode_head.1", "DSWHead", "DSWMHead"),
        ("model.decode_head.1.loss_decode.1", "DyceLoss", "DiceLoss"),
        ("model.auxiliary_head", "FCNhead", "FCNHead"),
        ("data_preprocessor.train_transforms.0", "BatchRandomAfine", "BatchRandomAffine"),
        ("train_dataloader.dataset.dataset", "SyntheticFundusDatset", "SyntheticFundusDataset"),
        ("train_dataloader.sampler", "InfinitSampler", "InfiniteSampler"),
        ("test_evaluator", "LesionMetrik", "LesionMetric"),
        ("default_hooks.checkpoint", "ChekpointHook", "CheckpointHook"),
        ("param_scheduler.1", "PollyLR", "PolyLR"),
        ("optim_wrapper", "AutocastOptimWraper", "AutocastOptimWrapper"),
        ("optim_wrapper.optimizer", "AdamWW", "AdamW"),
        ("train_cfg", "IterBasedTrainingLoop", "IterBasedTrainLoop"),
    ])
    def test_misspelt_type(self, demo_config: Path, place: str, wrong: str, right: str) -> None:
        text = findings(load_config(demo_config, {f"{place}.type": wrong}))
        assert f"{place}.type: no class '{wrong}' is registered; did you mean '{right}'?" in text
        assert demo_config.name in text
        assert text.count("\n") == 1

    @pytest.mark.parametrize(("place", "wrong", "right"), [
        ("model.decode_head.0", "dropout_ratios", "dropout_ratio"),
        ("model.decode_head.1", "fuse_channel", "fuse_channels"),
        ("model.backbone", "detph", "depth"),
        ("train_cfg", "max_iter", "max_iters"),
        ("default_hooks.checkpoint", "max_keep_ckpt", "max_keep_ckpts"),
        ("data_preprocessor.train_transforms.0", "cropsize", "crop_size"),
        ("train_dataloader.dataset.dataset", "dataroot", "data_root"),
        ("optim_wrapper.optimizer", "weight_decai", "weight_decay"),
    ])
    def test_unknown_argument(self, demo_config: Path, place: str, wrong: str, right: str) -> None:
        text = findings(load_config(demo_config, {f"{place}.{wrong}": 1}))
        assert f"{place}.{wrong}: " in text
        assert f"takes no argument '{wrong}'; did you mean '{right}'?" in text
        assert text.count("\n") == 1

    def test_misspelt_top_level_key(self, config: Config) -> None:
        config.optim_wraper = config.pop("optim_wrapper")
        assert "optim_wraper: no such key; did you mean 'optim_wrapper'?" in findings(config)

    def test_variables_of_a_config_are_no_keys(self, config: Config) -> None:
        config.crop_size, config.main_loss, config.norm_cfg = (64, 64), [], dict(type="BN")
        check_config(config)

    def test_all_findings_at_once_in_the_order_of_the_file(self, config: Config) -> None:
        config.merge_from_dict({
            "model.backbone.detph": 18, "model.backbone.basechannels": 8, "model.decode_head.1.type": "DSWHead",
            "train_cfg.max_iter": 4, "train_cfg.begin": 1, "param_scheduler.1.begin": 200,
        })
        config.defualt_hooks = dict()
        lines = findings(config).splitlines()
        assert [line.split(": ")[0].strip() for line in lines[1:]] == [
            "defualt_hooks", "model.backbone.detph", "model.backbone.basechannels", "model.decode_head.1.type",
            "train_cfg.max_iter", "train_cfg.begin", "param_scheduler.1.begin",
        ]

    @pytest.mark.parametrize("begin", [200, 220])
    def test_a_schedule_that_begins_at_its_end_or_later(self, demo_config: Path, begin: int) -> None:
        text = findings(load_config(demo_config, {"param_scheduler.1.begin": begin}))
        assert f"param_scheduler.1.begin: got {begin}, expected less than its end, 200" in text
        assert "train_cfg.max_iters" in text
        check_config(load_config(demo_config, {"param_scheduler.1.begin": 179}))

    def test_one_schedule_without_a_list(self, config: Config) -> None:
        config.param_scheduler = dict(type="PolyLR", by_epoch=False, begin=300, end=200)
        assert "param_scheduler.0.begin: got 300, expected less than its end, 200" in findings(config)

    def test_arguments_of_layers_are_mmcvs(self, config: Config) -> None:
        config.model.backbone.norm_cfg = dict(type="BN", requires_grad=True, momentum=0.01)
        config.model.backbone.conv_cfg = dict(type="Conv2d", padding_mode="reflect")
        check_config(config)

    def test_a_misspelt_layer_is_told(self, config: Config) -> None:
        config.model.backbone.norm_cfg = dict(type="SyncBatchNorn")
        assert "model.backbone.norm_cfg.type: no class 'SyncBatchNorn'" in findings(config)

    def test_missing_model(self) -> None:
        assert "model: missing" in findings(Config(dict(train_cfg=None)))

    def test_classes_of_mmengine_are_found(self, config: Config) -> None:
        config.custom_hooks = [dict(type="EMAHook", begin_iter=1, priority="HIGH")]
        config.optim_wrapper.optimizer = dict(type="SGD", lr=0.01, momentum=0.9)
        check_config(config)
