"""A Ray job: `ray job submit --working-dir . -- python jobs/select_items.py CONFIG [key=value ...]`."""

import sys

from codeblock.cli.commands import main

if __name__ == "__main__":
    main(["select", *sys.argv[1:]])
