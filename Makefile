# `make demo` and `make test` are all of the set-up: each makes the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
JOBS ?= 2
INSTALLED := $(VENV)/.installed
EMBEDDED := glyph_cnn glyph_vit attack planted drift
comma := ,
space := $() $()
FULL := glyph_cnn_classes glyph_cnn_hidden glyph_vit_classes glyph_vit_hidden glyph_cnn_adversarial \
	drift_r3d_motion planted_motion_energy planted_motion_rings

.PHONY: demo demo-full test docs hostile lint bench figures zoo lock clean

# Exit status 2 of the first run: the weights' package is not installed, as its line has said.
demo: $(INSTALLED)  ## an ImageNet network and the embedded ones, visualised: no hub, under three minutes of CPU
	@if $(BIN)/fvis run --force experiment=demo/imagenet hydra.run.dir=outputs/demo/imagenet; then \
		echo "the first pictures, while others are made: outputs/demo/imagenet/index.html"; \
	else test $$? -eq 2 && rm -rf outputs/demo/imagenet; fi
	@$(BIN)/fvis run -m --force hydra.sweep.dir=outputs/demo \
		experiment=$(subst $(space),$(comma),$(EMBEDDED:%=demo/%))
	@$(BIN)/fvis report $$(cd outputs/demo && \
		for name in imagenet $(EMBEDDED); do test ! -d $$name || echo outputs/demo/$$name; done)

demo-full: $(INSTALLED)  ## all classes of the embedded networks and more of their units, nine minutes
	@for name in $(FULL); do \
		$(BIN)/fvis run --force experiment=$$name hydra.run.dir=outputs/demo-full/$$name || exit 1; \
	done
	@$(BIN)/fvis report $(FULL:%=outputs/demo-full/%)

test: $(INSTALLED)  ## the whole test suite, in JOBS processes; FAST=1: without what is slow
	$(BIN)/python -m pytest -n $(JOBS) $(if $(FAST),-m "not slow")

docs: $(INSTALLED)  ## the documentation site, into outputs/site; strict and offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

hostile: $(INSTALLED)  ## 5000 cases of hostile input against the command line, an hour and more
	$(BIN)/python -m tests.hostile --cases 5000 $(HOSTILE)

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

zoo: $(INSTALLED)  ## train the embedded networks again
	$(BIN)/python -m fvis.zoo.train
	$(BIN)/python -m fvis.zoo.train_diffusion

bench: $(INSTALLED) $(PEERS)/.installed  ## what a step costs, beside the bare limit and the peers: one table
	$(BIN)/python -m tests.benchmarks --peers $(PEERS)/bin/python --json outputs/bench.json $(BENCH)

# attacks, checkpoints, execution, gallery, motion or solvers; attacks needs BENCH=folder, of weights and images.
bench-%: $(INSTALLED) $(PEERS)/.installed  ## a longer measurement, a module of tests/benchmarks
	$(PEERS)/bin/python -m tests.benchmarks.$* $(BENCH) --json outputs/bench_$*.json

# Those of the papers' networks; OFFLINE=1: of the embedded ones; WEIGHTS=dir: of checkpoints in dir.
figures: $(INSTALLED)  ## the papers' figures into outputs/figures, as PDF, PNG and GIF
	FVIS_WEIGHTS=$(abspath $(WEIGHTS)) $(BIN)/python -m fvis.figures.make \
		$(if $(OFFLINE),offline,$(if $(WEIGHTS),local,hub)) $(FIGURES)

lock: $(INSTALLED)  ## pin what a fresh resolution gives; CUDA's own packages exist for Linux alone
	$(BIN)/pip install --quiet --dry-run --ignore-installed --report - '.[dev]' \
		| $(BIN)/python -c 'import json, sys; print("\n".join(sorted( \
			"{name}=={version}".format(**p["metadata"]) \
			+ "; sys_platform == \"linux\"" * p["metadata"]["name"].startswith(("nvidia", "cuda", "triton")) \
			for p in json.load(sys.stdin)["install"] if p["metadata"]["name"] != "fvis")))' \
		> requirements.lock

clean:  ## take away the environments; outputs stay
	rm -rf $(VENV) $(PEERS)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The peers' environment sees .venv's libraries, so that all tools run on the same torch.
$(PEERS)/.installed: tests/benchmarks/peers-requirements.txt $(INSTALLED)
	$(BIN)/python -m venv --clear $(PEERS)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
