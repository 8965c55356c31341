# make demo    set everything up and run the pipeline on a drawn sample competition, offline
# make test    set everything up and pass the tests, with their coverage
# make unit    the unit tests alone, without those that take seconds each
# make long    the tests that take minutes
# make experiments   a table of the experiments, narrow enough to read; ARGS='-n 3' for those of the last three commits
# make back    params.yaml and every other file as in the last commit, the outputs from DVC's cache
# make setup   the set-up alone: .venv, from the lock file; EXTRA=cuda for an NVIDIA GPU
# make check   linter, formatter and type checker
# make lock    write the lock files again from pyproject.toml (needs uv)

PYTHON ?= python3
EXTRA ?= cpu
VENV ?= .venv
# make lock UPGRADE= keeps the versions that there are.
UPGRADE ?= --upgrade
LOCK = requirements-$(EXTRA).lock
READY = $(VENV)/ready-$(EXTRA)

# Columns that `make experiments` leaves out: files, counts but that of the rows that are scored, what is fitted.
UNREAD = .*/|models|params\.yaml$$|train_n_samples|.*_std$$|submitted_|Created|Executor

NO_RUN = no run is committed (dvc.lock), so there is nothing to go back to, and edits would be lost; first: \
	git add -A && git commit -m 'First run'

DETACHED = no branch is checked out, as after an experiment that was killed, so commits made here are on none; \
	git switch BRANCH goes back to yours (git branch lists them)

.PHONY: demo test unit long experiments back setup check lock

demo: setup
	$(VENV)/bin/python -m tools.demo

test: setup
	$(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report term:skip-covered $(PYTEST_ARGS)

unit: setup
	$(VENV)/bin/python -m pytest -n auto --dist worksteal -m 'not long and not slow' tests/unit $(PYTEST_ARGS)

long: setup
	$(VENV)/bin/python -m pytest -m long $(PYTEST_ARGS)

# Without setup: a table must not make the environment anew, as it would after `make setup EXTRA=cuda`.
experiments:
	@$(firstword $(wildcard $(VENV)/bin/dvc) dvc) exp show --only-changed --drop '$(UNREAD)' $(ARGS)

# DVC may leave params.yaml as long as it was, in the second in which git last looked at it; then git, which goes by time
# and length, takes the values of a failed experiment for its own. Touched, it is read. New files are only unstaged.
# Links to weights that have gone, of a fine-tuning that is no more, stop DVC: stage networks links what there is.
back:
	@git cat-file -e HEAD:./dvc.lock 2>/dev/null || { echo "ERROR: $(NO_RUN)" >&2; exit 1; }
	@git symbolic-ref --quiet HEAD >/dev/null || echo "WARNING: $(DETACHED)" >&2
	@touch params.yaml
	git reset --quiet -- .
	git restore .
	$(firstword $(wildcard $(VENV)/bin/dvc) dvc) checkout --force
	@if [ -d data/networks ]; then find -L data/networks -type l -delete; fi

setup: $(READY)

$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	f"ERROR: $(PYTHON) is Python {v.major}.{v.minor}; TensorFlow needs 3.11, 3.12 or 3.13: make PYTHON=python3.13 $(MAKECMDGOALS)")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of $(LOCK): some minutes, without a word."
	@$(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $(LOCK)
	@touch $@
	@echo "Ready. Next: source $(VENV)/bin/activate"

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

lock:
	for extra in cpu cuda; do uv pip compile pyproject.toml --extra $$extra --extra cluster --extra dicom --extra large --extra presets --extra dev --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url $(UPGRADE) \
	--output-file requirements-$$extra.lock --quiet; done
