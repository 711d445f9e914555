# Two commands do all the set-up on a fresh machine.
.PHONY: demo test setup

# The main job, from an empty directory to a proven recovery; leaves nothing behind.
demo: setup
	@scripts/demo.sh

# Formatting, lints and every test.
test: setup
	@cargo x test

setup:
	@scripts/setup.sh
