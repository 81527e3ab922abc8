"""What tests of the whole house share: its floors, its words, planted faults, results of two versions."""
