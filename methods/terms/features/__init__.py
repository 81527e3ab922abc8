"""Features of many samples together: clusters, prototypes of classes, entropies, contrasts, what a bottleneck keeps."""
