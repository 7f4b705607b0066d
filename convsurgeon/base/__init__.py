"""What every other room stands on: errors, records, inputs, files, devices, random generators."""
