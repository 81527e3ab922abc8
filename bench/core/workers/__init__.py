"""Worker processes, for training and for preparing alike: started, given one job at a time, replaced when they die."""
