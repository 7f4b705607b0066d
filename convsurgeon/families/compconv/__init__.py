"""CompConv: divide and conquer along the channels."""
