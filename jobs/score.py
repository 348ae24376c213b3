"""A Ray job: `ray job submit --working-dir . -- python jobs/score.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
