"""The picture in the README: part of a synthetic test photograph, its truth, and what the network of `make demo` found.

    python benchmarks/demo_picture.py data/synthetic work_dirs/demo/latest.pth docs/images/demo.jpg
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout without installing it

import numpy as np

from mmseg.apis import LesionInferencer
from mmseg.datasets import SyntheticFundusDataset
from mmseg.visualization import draw_overlay, write_picture

WINDOW = np.s_[:, 230:630, 480:1040]
"""Rows and columns of the first test photograph that hold every kind of lesion."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data_root", "checkpoint", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    item = SyntheticFundusDataset(data_root=str(args.data_root), split="test")[0]
    (found,) = LesionInferencer(args.checkpoint)([item["data_samples"].img_path])
    image = np.ascontiguousarray(found.image[WINDOW[1:]])
    truth = item["data_samples"].gt_sem_seg.data.numpy()
    panels = [draw_overlay(image, m[WINDOW], found.classes, found.palette) for m in (np.zeros_like(truth), truth, found.masks)]
    panels[0][image.shape[0] :] = 24  # nothing was looked for in the photograph itself
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    picture = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print(write_picture(args.out, picture))


if __name__ == "__main__":
    main()
