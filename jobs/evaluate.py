"""A Ray job: `ray job submit --working-dir . -- python jobs/evaluate.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
