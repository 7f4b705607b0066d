"""IGC: interleaved group convolutions."""
