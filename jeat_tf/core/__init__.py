"""What everything else stands on: energies, balls, seeds, the graph loop, files. No data sets, no nets."""
