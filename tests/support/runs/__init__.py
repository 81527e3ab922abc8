"""What tests of training share: pretended methods and devices, plans, networks of others."""
