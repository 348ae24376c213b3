"""Any command as a Ray job: `ray job submit --working-dir . -- python jobs/stage.py score CONFIG [key=value ...]`."""

from codeblock.cli.commands import main

if __name__ == "__main__":
    main()
