"""IGC: interleaved group convolution."""
