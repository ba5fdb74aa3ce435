# `make demo` and `make test` set everything up by themselves; a second call starts at once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo data test nightly bench lint format docs clean

demo: $(READY)
	@$(BIN)/python docs/demo.py demo-output

data: $(READY)
	@$(BIN)/python docs/data.py specs/models

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

nightly: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e ".[runtimes]"
	$(BIN)/python -m pytest -q -n 2

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e ".[bench]"
	$(BIN)/python benchmarks/all.py --threads 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e ".[docs]"
	$(BIN)/python docs/site.py docs-output/source
	$(BIN)/python docs/gallery.py docs-output/source/models
	$(BIN)/python -m mkdocs build --quiet
	@echo "the site is in docs-output/site"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e ".[cpu,torch,demo,dev]"
	@touch $(READY)

clean:
	rm -f specs/models/*.npy specs/models/*.npz
	rm -rf .venv demo-output docs-output .pytest_cache .ruff_cache .hypothesis
