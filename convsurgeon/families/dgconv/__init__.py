"""DGConv: dynamic grouping convolution, its groups learned or chosen in closed form."""
