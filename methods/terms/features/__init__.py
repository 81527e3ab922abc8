"""Features of many samples together: clusters, prototypes of classes, entropies, contrasts, and what a bottleneck keeps."""
