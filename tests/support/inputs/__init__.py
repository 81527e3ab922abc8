"""Files that are smaller or shallower than what they hold: bombs, which tests of reading share."""
