"""Metadata of the package; settings of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    return [line for line in (ROOT / "requirements" / name).read_text().splitlines() if line and not line.startswith("#")]


setup(
    name="sdc-net",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "mmseg" / "version.py").read_text()).group(1),
    description="SDC-Net: lesion segmentation in fundus photographs, in the manner of mmsegmentation",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["mmseg", "mmseg.*"]),
    install_requires=requirements("runtime.txt"),
    extras_require={"tests": requirements("tests.txt"), "optional": requirements("optional.txt")},
)
