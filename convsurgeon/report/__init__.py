"""Reports: the record, and its renderers for the terminal, for Markdown and for machines."""
