"""Pages: one self-contained HTML file each, made of a few kinds of blocks."""
