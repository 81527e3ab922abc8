"""Clips of web videos, which are named by the video's id and a start: their lists, and the files of a source."""
