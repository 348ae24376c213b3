"""`python -m codeblock` is `codeblock`."""

from codeblock.cli.process import command

if __name__ == "__main__":
    command()
