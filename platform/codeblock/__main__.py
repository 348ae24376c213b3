"""`python -m codeblock` is `codeblock`."""

from codeblock.cli.commands import main

if __name__ == "__main__":
    main()
