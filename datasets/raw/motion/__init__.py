"""Clips as several streams of pictures, without sound: frames and optical flow, or colour, depth and infrared."""
