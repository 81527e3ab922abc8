"""What any part of the program needs and what itself needs no other part: devices and the state of a process."""
