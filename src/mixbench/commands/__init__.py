"""The subcommands: each module has `main(argv) -> exit status` and imports what it needs when it runs."""
