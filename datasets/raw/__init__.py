"""What lies in the official folders of datasets: files, lists and labels; imports no torch."""
