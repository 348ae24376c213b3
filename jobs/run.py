"""A Ray job: `ray job submit --working-dir . -- python jobs/run.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
