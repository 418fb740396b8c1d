"""What every other package uses: errors, files, devices, progress, run folders."""
