"""CompConv: compact convolution by divide and conquer along the channels."""
