"""The subcommands of ``deepfake``: each module adds its parsers and runs them."""
