"""What is known of each pair: its tokens, its coding items, its loss."""
