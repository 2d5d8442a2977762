# On a machine with Python 3.11 to 3.13 and make:
#     make book                                                  the book, its chapter re-executed on embedded digits
#     make book EPSILON=2 PROFILE=laptop DATASET=mnist SEED=1    the same on real MNIST
#     make test                                                  what a change needs, in minutes on two cores
#     make test TIER=full                                        all tests, and the published notebooks from their records
#     make lint                                                  style, types, and which floor imports which
# Everything is written to .venv/, build/ and runs/, which git ignores.

PYTHON = python3
CHAPTER = mnist_tradeoff
PROFILE = smoke
DATASET = digits
EPSILON = 10
SEED = 0
# The chapter's own values unless set.
DELTA =
INFO_WEIGHT =
TIER = fast
WORKERS = 2

BIN = .venv/bin
PARAMETERS = -p profile '$(PROFILE)' -p dataset '$(DATASET)' -p epsilon '$(EPSILON)' -p seed '$(SEED)' \
    $(if $(DELTA),-p delta '$(DELTA)') $(if $(INFO_WEIGHT),-p info_weight '$(INFO_WEIGHT)')

# A file's tests, and a notebook's cells, run in order on one worker; a worker is one thread. One that crashes, or whose
# test hangs, is not replaced: its test is named and the run ends (with loadfile, the rest would be waited for forever).
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
    --max-worker-restart 0 --durations=40
TESTS_fast = -m 'not full' tests
TESTS_full = --nbval --nbval-current-env --nbval-sanitize-with=tests/nbval_sanitize.cfg --nbval-cell-timeout=120 \
    notebooks tests

.PHONY: book test lint install clean

book: .venv/installed
	@$(BIN)/dpgan book --chapter '$(CHAPTER)' $(PARAMETERS)

# With DPGAN_RECORDS_ONLY a published notebook that starts to train fails; tests/conftest.py lifts it for tests/.
test: .venv/installed
	@$(if $(TESTS_$(TIER)),,echo "TIER=$(TIER) must be fast or full" && exit 1;) \
	    DPGAN_RECORDS_ONLY=1 $(PYTEST) $(TESTS_$(TIER))

lint: .venv/installed
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

install: .venv/installed

# torch first and exactly: the CPU build where there is one, and no second torch pulled by what depends on it.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    { echo "$$($(PYTHON) --version) must be 3.11 to 3.13: name another, such as make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -e . -c constraints.txt
	@touch $@

clean:
	rm -rf build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache dpgan_lib.egg-info
