"""What tests of datasets share: media files, official folders and pickles that they write, and preparing."""
