# The same three words as `python3 dev.py`, for fingers that type make.
.PHONY: run test lock

run test lock:
	python3 dev.py $@
