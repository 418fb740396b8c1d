"""What every other package stands on: errors, files, devices, progress, run folders."""
