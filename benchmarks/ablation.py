"""The ablation of docs/sdcnet.md: trainings on fold 0 of IDRiD_cv, scored in one way or more on the images left out.

Rows are trained one after the other, or a few at once (a GPU holds many), each by tools/train.py with --resume, so that a stopped
ablation goes on where it was; a row that has its scores is not trained again. Nothing reads the test images.

    python benchmarks/ablation.py [--rows isdnet sdcnetplus] [--folder work_dirs/ablation] [--jobs 1] [--json FILE]
    python benchmarks/ablation.py --list        the rows and their commands
    python benchmarks/ablation.py --draw FILE --json FILE       the scores that are there, as a picture
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _record import processor, write_record

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmseg.utils.errors import UserError  # noqa: E402

ABOUT = "about.json"
RAW = "raw.pth"
TEST_SIZE = "test_dataloader.dataset.size"
WRITING_RAW = threading.Lock()
"""Several rows may score the same trained weights."""
UNIFORM = "data_preprocessor.train_transforms.0.lesion_prob=0"


@dataclass(frozen=True)
class Row:
    """One training and one way of scoring it.

    Args:
        name: of the row; its folder is ``<name>_seed<seed>``.
        config: below ``configs/``, without ``_512x512_2500_IDRiD_cv.py``.
        options: of the training, for ``--cfg-options``.
        seed: of weights, order and augmentation.
        trained: name of the row whose training is scored; default: its own.
        raw: whether to score the trained weights of a training that averages them: averaging changes nothing in what is trained.
        test_options: of ``tools/test.py``.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    seed: int = 0
    trained: str = ""
    raw: bool = False
    test_options: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.name}_seed{self.seed}"

    @property
    def _path(self) -> str:
        return f"configs/{self.config}_512x512_2500_IDRiD_cv.py"

    def run(self, folder: Path) -> Path:
        """The work_dir of its training."""
        return folder / f"{self.trained or self.name}_seed{self.seed}"

    def train(self, folder: Path) -> list[str]:
        """The command that trains it, or goes on with it."""
        options = ["--cfg-options", *self.options] if self.options else []
        where = ["--work-dir", str(self.run(folder)), "--seed", str(self.seed), "--resume"]
        return ["tools/train.py", self._path, *where, *options]

    def is_trained(self, folder: Path) -> bool:
        """Whether this training has come to its end."""
        run = self.run(folder)
        return bool(read(run / ABOUT).get("done")) or (run / "test" / "metrics.json").is_file()

    def test(self, folder: Path) -> list[str]:
        """The command that scores its last iteration."""
        checkpoint, own = self.run(folder) / (RAW if self.raw else "latest.pth"), folder / self.key
        where = ["--work-dir", str(own), "--out", str(own / "test")]
        return ["tools/test.py", self._path, str(checkpoint), *where, *self.test_options]


STRIDE4: dict[str, Any] = dict(config="sdcnet/sdcnetplus_r18-d8", options=(UNIFORM,), trained="stride4")
"""Rows that score that training in another way."""

ROWS = (
    *(Row("softmax", "isdnet/isdnet_r18-d8_softmax", (UNIFORM,), seed) for seed in (0, 1)),
    Row("sigmoid", "isdnet/isdnet_r18-d8", (UNIFORM,)),
    Row("isdnet", "isdnet/isdnet_r18-d8"),
    Row("sdcnet", "sdcnet/sdcnet_r18-d8", (UNIFORM,)),
    Row("stride4", "sdcnet/sdcnetplus_r18-d8", (UNIFORM,)),
    Row("sdcnetplus", "sdcnet/sdcnetplus_r18-d8"),
    Row("ema", "sdcnet/sdcnetplus_r18-d8_ema", seed=1),
    Row("sdcnetplus", "sdcnet/sdcnetplus_r18-d8_ema", seed=1, trained="ema", raw=True),
    Row("flips", **STRIDE4, test_options=("--tta",)),
    Row("larger", **STRIDE4, test_options=("--cfg-options", f"{TEST_SIZE}=(2160,1440)")),
    Row("between", **STRIDE4, test_options=("--cfg-options", f"{TEST_SIZE}=(1280,854)")),
    Row("between", "sdcnet/sdcnetplus_r18-d8_ema", seed=1, trained="ema", raw=True,
        test_options=("--cfg-options", f"{TEST_SIZE}=(1280,854)")),
    Row("smaller", **STRIDE4, test_options=("--cfg-options", f"{TEST_SIZE}=(1080,720)")),
    Row("nearest", "sdcnet/sdcnetplus_r18-d8", (UNIFORM, "model.down_mode=nearest")),
    Row("tversky", "sdcnet/sdcnetplus_r18-d8", tuple(
        f"model.{head}.loss_decode.1.alpha=0.3" for head in ("decode_head.0", "decode_head.1", "auxiliary_head"))),
    Row("half", "sdcnet/sdcnetplus_r18-d8", ("model.down_ratio=2",)),
    Row("closer", "sdcnet/sdcnetplus_r18-d8", ("data_preprocessor.train_transforms.0.scale=(0.75,1.5)",)),
    *(Row(name, "sdcnet/sdcnetplus_r18-d8", (
        f"train_cfg.max_iters={length}", "train_cfg.val_interval=5000", "optim_wrapper.optimizer.lr=1e-3", "cuda_graph=True"))
        for name, length in (("longer", 10000), ("longest", 20000))),
)

COLUMNS = {
    "mean AP": ("mean", "AP"), "MA": ("MA", "AP"), "HE": ("HE", "AP"), "EX": ("EX", "AP"), "SE": ("SE", "AP"),
    "mean Dice": ("mean", "Dice"), "mean IoU": ("mean", "IoU"),
}
"""Head of a column, and its place in metrics.json."""


def write_raw(row: Row, folder: Path) -> None:
    """A checkpoint of the weights that were trained, beside that of their averages."""
    from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint

    checkpoint = read_checkpoint(row.run(folder) / "latest.pth")
    write_checkpoint(dict(state_dict=checkpoint["raw_state_dict"], meta=checkpoint["meta"]), row.run(folder) / RAW)


def scores(row: Row, folder: Path) -> dict[str, dict[str, float]] | None:
    """Of a row that is done, by lesion and 'mean'."""
    path = folder / row.key / "test" / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else None


def about() -> dict[str, Any]:
    """With what a network is trained: rows of several machines and versions stand in one table."""
    import torch

    from mmseg.utils.device import default_device, has_native_bfloat16

    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout if shutil.which("git") else ""
    device = default_device().type
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return dict(
        commit=git.strip() or None, date=time.strftime("%Y-%m-%d"), machine=processor(), device=name,
        dtype="bfloat16" if has_native_bfloat16(device) else "float32")


def record(row: Row, folder: Path) -> dict[str, Any] | None:
    """All that is kept of a row: its scores, intervals, best thresholds, and the curve of its validation."""
    found = scores(row, folder)
    if found is None:
        return None
    test = folder / row.key / "test"
    details, notes = (read(path) for path in (test / "details.json", row.run(folder) / ABOUT))
    from mmseg.engine.work_dir import log_entries, scalar_logs

    trained = {"trained": dict(parts=notes["parts"])} if notes else {}
    kept = {key: details[key] for key in ("intervals_95", "best_dice", "checkpoint") if key in details}
    logs = [] if row.trained else scalar_logs(row.run(folder))
    logged = [entry for log in logs for entry in log_entries(log)]
    curve = {str(entry["step"]): entry["lesion/mAP"] for entry in logged if "lesion/mAP" in entry}
    return {**found, **kept, **({"validation_mAP": curve} if curve else {}), **trained}


def read(path: Path) -> Any:
    """What a JSON file holds; nothing where it is not there."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write(path: Path, content: Any) -> None:
    """The opposite of :func:`read`."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def run(row: Row, folder: Path, log: Path | None) -> None:
    """Train it where it is not trained, and score it where it has no scores; their output goes into a file, if one is given."""
    train, test = row.train(folder), row.test(folder)
    with contextlib.ExitStack() as stack:
        out = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(log.open("a"))
        if not row.is_trained(folder):
            notes = read(row.run(folder) / ABOUT)
            notes["parts"] = [*notes.get("parts", []), about()]  # each time it goes on, by what is there then
            row.run(folder).mkdir(parents=True, exist_ok=True)
            write(row.run(folder) / ABOUT, notes)
            subprocess.run([sys.executable, *train], cwd=ROOT, check=True, stdout=out, stderr=out)
            write(row.run(folder) / ABOUT, dict(notes, done=True))
        if row.raw:
            with WRITING_RAW:
                write_raw(row, folder)
        subprocess.run([sys.executable, *test], cwd=ROOT, check=True, stdout=out, stderr=out)


def run_all(rows: list[Row], folder: Path, jobs: int) -> list[str]:
    """Each training by one row, as many at once as asked for; then the rows that score one of them in another way.

    Returns:
        the rows that failed, which keep no other from being run.
    """
    failed: list[str] = []

    def try_to_run(row: Row) -> None:
        if scores(row, folder) is not None:
            return
        log = folder / f"{row.key}.log" if jobs > 1 else None
        try:
            run(row, folder, log)
        except (subprocess.CalledProcessError, UserError) as error:
            failed.append(row.key)
            print(f"{row.key}: failed: {error}" + (f"; see {log}" if log else ""), file=sys.stderr, flush=True)
        else:
            print(f"{row.key}: done" + (f", {log}" if log else ""), flush=True)

    firsts: dict[Path, Row] = {}
    for row in sorted(rows, key=lambda row: bool(row.trained)):
        firsts.setdefault(row.run(folder), row)
    rest = [row for row in rows if row not in firsts.values()]
    with ThreadPoolExecutor(jobs) as pool:
        for part in (list(firsts.values()), rest):
            list(pool.map(try_to_run, part))
    return failed


def table(folder: Path) -> str:
    """All rows as Markdown, in percent."""
    header = ["row", "seed", *COLUMNS]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in ROWS:
        found = scores(row, folder)
        values = [found[key][what] for key, what in COLUMNS.values()] if found else []
        cells = [f"{100 * value:.1f}" for value in values] or ["not run"] * len(COLUMNS)
        lines.append("| " + " | ".join([row.name, str(row.seed), *cells]) + " |")
    return "\n".join(lines)


def draw(records: dict[str, Any], path: Path) -> None:
    """The mean AP of every row during its training, as a picture; rows of a CPU are dashed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axis = figure.subplots()
    for key, row in records.items():
        curve = (row or {}).get("validation_mAP")
        if curve:
            on_cpu = any(part.get("device") == "cpu" for part in row.get("trained", {}).get("parts", ()))
            name = key.replace("_seed", ", seed ") + (", CPU" if on_cpu else "")
            axis.plot([int(step) for step in curve], [100 * value for value in curve.values()],
                      ("--" if on_cpu else "-") + "os"[len(axis.lines) // 10 % 2], markersize=4, label=name)
    axis.set(xscale="log", xlabel="iteration", ylabel="mean AP, percent", ylim=(0, None))
    axis.set_xticks([1000, 2000, 5000, 10000, 20000], minor=False)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axis.xaxis.set_minor_formatter(lambda *_: "")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", metavar="NAME", help="only these, with all seeds or one (NAME_seed0; default: all)")
    parser.add_argument("--folder", type=Path, default=Path("work_dirs/ablation"), help="where the runs are")
    parser.add_argument("--jobs", type=int, default=1, help="rows at once; each then prints into FOLDER/<row>_seed<seed>.log")
    parser.add_argument("--list", action="store_true", help="print the commands and train nothing")
    parser.add_argument("--json", type=Path, help="write the scores there, beside those of rows that are there")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="train nothing; draw the courses of training that --json holds")
    args = parser.parse_args()
    if args.draw:
        if not args.json or not args.json.is_file():
            parser.error(f"--draw: got --json {args.json}, expected a file that --json wrote")
        draw(json.loads(args.json.read_text())["rows"], args.draw)
        return
    known = {name for row in ROWS for name in (row.name, row.key)}
    if unknown := set(args.rows or ()) - known:
        parser.error(f"--rows: got {sorted(unknown)}, expected names of {sorted(known)}")
    rows = [row for row in ROWS if not args.rows or {row.name, row.key} & set(args.rows)]
    if args.list:
        for row in rows:
            print(*(shlex.join(["python", *command]) for command in (row.train(args.folder), row.test(args.folder))), sep="\n")
        return
    failed = run_all(rows, args.folder, args.jobs)
    print(table(args.folder))
    earlier = json.loads(args.json.read_text())["rows"] if args.json and args.json.is_file() else {}
    records = {row.key: record(row, args.folder) or earlier.get(row.key) for row in ROWS}  # of another machine, too
    write_record(args.json, "ablation.py", ("torch",), rows=records)
    if failed:
        sys.exit(f"error: {len(failed)} rows failed: {', '.join(failed)}; the same command goes on with them")


if __name__ == "__main__":
    main()
