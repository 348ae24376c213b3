"""What a config asks for, which steps that takes, and what came out of them."""
