.PHONY: format lint type test

format:
	ruff check --fix
	ruff format

lint:
	ruff check
	ruff format --check

type:
	mypy

test:
	pytest
