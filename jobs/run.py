"""A comparison as a Ray job, to be edited: `ray job submit --working-dir . -- python jobs/run.py CONFIG [key=value ...]`.

What the config cannot say goes here: arms that are made in a loop, data that is fetched first, what happens with the result.
"""

import sys

from codeblock.cli.commands import main

ARGUMENTS: list[str] = []
"""Such as `train.steps=200`, before those of the command line."""

if __name__ == "__main__":
    main(["run", *sys.argv[1:2], *ARGUMENTS, *sys.argv[2:]])
