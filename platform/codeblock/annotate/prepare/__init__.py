"""From pairs to tokens: render, segment, align. Tokens, offsets and the response mask come out of one function."""
