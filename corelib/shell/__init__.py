"""The parts that touch the world: environment, files, processes, terminals."""
