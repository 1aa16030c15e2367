"""Segment photographs without PyTorch: python tools/onnx_inference.py model.onnx fundus.jpg (needs numpy, opencv, onnxruntime)"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # of JPEG and PNG


def main() -> None:
    parser = argparse.ArgumentParser(description="Segment photographs with an ONNX file written by tools/export.py.")
    parser.add_argument("model", help="such as model.onnx, with the preprocessing inside")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--out-dir", type=Path, default=Path("output_onnx"))
    args = parser.parse_args()
    import cv2
    import numpy as np
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        limits = np.float32([about["thresholds"][name] for name in about["classes"]])
    except Exception as error:  # onnxruntime has kinds of its own
        raise SystemExit(f"error: {args.model}: expected an ONNX file that tools/export.py wrote ({error})") from None
    args.out_dir.mkdir(parents=True, exist_ok=True)
    if about["preprocessing"] != "inside" or len({path.stem for path in args.images}) < len(args.images):
        raise SystemExit("error: export with preprocessing, and name photographs whose names differ")
    for path in args.images:
        data = path.read_bytes() if path.is_file() else b""
        at = 2
        while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
            at += 2 + int.from_bytes(data[at + 2 : at + 4])  # over a JPEG's header, whose thumbnail has an end of its own
        whole = data and data.find(_ENDS.get(data[:2], b""), at) >= 0  # of a part OpenCV makes a photograph that is grey below
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if whole else None
        if image is not None and image.dtype == np.uint16 and image.max() >= 2**14:
            image = (image // 257).astype(np.uint8)
        if image is None or image.dtype != np.uint8:  # BGR, upright by EXIF
            raise SystemExit(f"error: {path}: expected a whole photograph of 8 bits a channel, or of all 16")
        height, width, _ = image.shape
        sides = zip(sorted(about["size"] or (width, height)), sorted((width, height)), strict=True)  # long with long
        factor = min(box / side for box, side in sides)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        inputs = {"image": np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)[None])}
        found = session.run(["probabilities"], inputs)[0][0].transpose(1, 2, 0)
        large = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
        seen = np.where(large > limits, large, -1)  # the likeliest lesion above its threshold
        pictures = {"mask": ((seen.argmax(2) + 1) * (seen.max(2) >= 0)).astype(np.uint8)}
        names = [name.replace("/", "_") for name in about["classes"]]
        pictures |= {name: np.uint8(255) * (large[..., c] > limits[c]) for c, name in enumerate(names)}
        if not all(cv2.imwrite(str(args.out_dir / f"{path.stem}_{name}.png"), picture) for name, picture in pictures.items()):
            raise SystemExit(f"error: {args.out_dir} cannot be written")
        print(f"{path} -> {args.out_dir / path.stem}_*.png")


if __name__ == "__main__":
    main()
