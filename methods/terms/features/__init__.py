"""Features of many samples together: clusters, prototypes of classes, contrasts, and what a bottleneck keeps."""
