# Two commands do everything from a fresh clone: make demo, make test.
PYTHON ?= python3
VENV = .venv
PY = $(VENV)/bin/python
DEMO = configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py
OUT = work_dirs/demo

.PHONY: setup demo test lint api clean

setup: $(VENV)/.complete

# The stamp is written last, so that an interrupted installation is done again.
$(VENV)/.complete: requirements/runtime.txt requirements/tests.txt requirements/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11, 0, "final") <= v < (3, 15) and f"error: got Python {sys.version.split()[0]}, expected 3.11 to 3.14; name one by make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11, 0, "final") and f"error: $(VENV) was made by Python {sys.version.split()[0]}; remove it by rm -rf $(VENV)")'
	@echo "downloading and installing: this takes minutes"
	$(PY) -m pip install --disable-pip-version-check --progress-bar on -c requirements/constraints.txt -r requirements/runtime.txt -r requirements/tests.txt
	@touch $@

demo: setup
	$(PY) tools/make_synthetic_dataset.py --out data/synthetic
	$(PY) tools/train.py $(DEMO) --work-dir $(OUT) --overwrite
	$(PY) tools/test.py $(DEMO) $(OUT)/latest.pth --work-dir $(OUT) --out $(OUT)/test
	$(PY) benchmarks/colour_threshold.py data/synthetic --json $(OUT)/test/colour_threshold.json
	$(PY) tools/inference.py data/synthetic/images/test/synthetic_25.jpg --checkpoint $(OUT)/latest.pth --out-dir $(OUT)/output_img
	$(PY) benchmarks/demo_summary.py $(OUT)

# A process a core, each with one thread: most tests are too small for two.
test: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

api: setup
	$(PY) docs/build_api.py

clean:
	rm -rf $(VENV) data/synthetic work_dirs/demo
