# make study   set everything up and run the main job
# make test    set everything up and run the tests
# make check   format, lint, types, import direction
# make ledger  every claim's verdict against the one on record
# make slow    the long tests;  make bench  timings as ratios
# make figures redraw figures from stored rows;  make report  one page of everything;  make docs  the documentation

PYTHON ?= python3
BIN := .venv/bin
STUDY := .venv/.study
READY := .venv/.ready
# Libraries under audit whose samplers need torch alone; their networks' requirements (torchvision, kornia, wandb) stay out.
AUDITED := "azula>=0.11" "k-diffusion>=0.1.1" "flow-matching>=1.0" "smalldiffusion>=0.5"

.PHONY: study test check ledger slow bench figures report docs format clean

study: $(STUDY)
	$(BIN)/python -m studies.dimension_scaling $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

slow: $(READY)
	$(BIN)/python -m pytest -n 2 -m slow $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_imports.py

ledger: $(READY)
	$(BIN)/python -m verify --check $(ARGS)

bench: $(READY)
	mkdir -p results
	$(BIN)/python -m pytest -p no:xdist tests/bench -s --benchmark-only --benchmark-json=results/benchmarks.json $(ARGS)
	$(BIN)/python -m figures.benchmarks results/benchmarks.json

figures: $(STUDY)
	$(BIN)/python -m figures

report: $(READY)
	$(BIN)/python -m figures.report --out results/report.html

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir results/site

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The environment, made once: what the studies need, then what the tests need.
$(STUDY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $(STUDY)

# pyright fetches its own program here so that later runs need no network.
$(READY): $(STUDY)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps $(AUDITED)
	$(BIN)/pyright --version > /dev/null
	touch $(READY)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
