"""DGConv: dynamic grouping, learned or chosen in closed form."""
