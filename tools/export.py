"""Export a trained model to ONNX and torch.export, with a model card: python tools/export.py CHECKPOINT"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from _cli import add_options, exit_on_user_error, options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write a trained model as files of open batch and image size, and check them.")
    parser.add_argument("checkpoint", help="such as work_dirs/<config name>/latest.pth")
    parser.add_argument("--config", metavar="FILE", help="default: the config inside the checkpoint")
    add_options(parser)
    parser.add_argument("--out-dir", metavar="DIR", help="default: export/ beside the checkpoint")
    parser.add_argument("--name", help="of the files, without ending (default: the checkpoint's)")
    parser.add_argument("--format", nargs="+", default=["onnx", "torch"], metavar="onnx|torch", help="default: both")
    parser.add_argument("--no-preprocessing", action="store_true", help="take normalised float32 instead of uint8 RGB")
    parser.add_argument("--opset", type=int, default=18, help="ONNX operator set (default: %(default)s, the oldest offered)")
    parser.add_argument("--metrics", metavar="DIR", help="a folder that tools/test.py wrote, for the model card")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        from mmseg.apis import init_model
        from mmseg.compat.export import check_packages, export_model
        from mmseg.compat.model_card import card_markdown, model_card, read_test_results
        from mmseg.utils.whole_files import whole_file

        check_packages(args.format)
        results = read_test_results(args.metrics) if args.metrics else None
        model = init_model(args.config, args.checkpoint, "cpu", options(args.cfg_options))
        out_dir = Path(args.out_dir or Path(args.checkpoint).parent / "export")
        name = args.name or Path(args.checkpoint).stem
        files = export_model(
            model, out_dir, name, args.format, not args.no_preprocessing, args.opset,
            progress=lambda text: print(text, flush=True),
        )
        card = model_card(model, args.checkpoint, results, files, Path(args.config).stem if args.config else None)
        for ending, text in (("json", json.dumps(card, indent=2) + "\n"), ("md", card_markdown(card))):
            with whole_file(out_dir / f"{name}.{ending}") as path:
                path.write_text(text)
    for file in files.values():
        worst = max(check["max_difference"] for check in file["checks"])
        print(f"{file['path']}  {file['bytes'] / 1e6:.1f} MB, within {worst:.1e} of PyTorch at {len(file['checks'])} sizes")
    print(f"model card  {out_dir / name}.md, {out_dir / name}.json")


if __name__ == "__main__":
    main()
