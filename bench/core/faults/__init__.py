"""What a machine does to a program, told in words: a full disk, a killed process, a script that starts itself."""
