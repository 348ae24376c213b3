"""A Ray job: `ray job submit --working-dir . -- python jobs/train.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
