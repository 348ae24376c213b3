"""A Ray job: `ray job submit --working-dir . -- python jobs/sweep.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
