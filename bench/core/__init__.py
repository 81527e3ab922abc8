"""What any program needs, whatever it is for: devices, seeds, files, interrupts, memory, users' modules."""
